/** A user agent in three words: Firefox on Linux. What is not known stands as it is. */
export function browserOf(agent: string): string {
  const browser = [
    ['Edg/', 'Edge'],
    ['OPR/', 'Opera'],
    ['Firefox/', 'Firefox'],
    ['Chrome/', 'Chrome'],
    ['Safari/', 'Safari'],
  ].find(([part]) => agent.includes(part ?? ''))?.[1]
  const system = [
    ['Android', 'Android'],
    ['iPhone', 'iPhone'],
    ['iPad', 'iPad'],
    ['Windows', 'Windows'],
    ['Mac OS X', 'macOS'],
    ['CrOS', 'ChromeOS'],
    ['Linux', 'Linux'],
  ].find(([part]) => agent.includes(part ?? ''))?.[1]
  if (!browser) return agent.slice(0, 60) || 'an unknown program'
  return system ? `${browser} on ${system}` : browser
}
