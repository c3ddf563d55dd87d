/** Now, for texts like "5 s ago": moves every second while the page is visible. */
class Clock {
  now = $state.raw(new Date())

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = new Date()
    }, 1000)
    document.addEventListener('visibilitychange', () => (this.now = new Date()))
  }
}

export const clock = new Clock()
