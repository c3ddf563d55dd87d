// Sends every call that Segment's Node SDK offers: node send.mjs HOST WRITE_KEY PREFIX.
// Prints the events as JSON lines, as it meant them. Ends with 1 when the SDK reported an error.
import { Analytics } from '@segment/analytics-node'

const [host, writeKey, prefix] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, flushAt: 4, flushInterval: 200, maxRetries: 5 })
const errors = []
analytics.on('error', (error) => errors.push(error))

const timestamp = '2026-08-03T09:41:07.123Z'
const context = { ip: '198.51.100.23', campaign: { name: 'spring' }, traits: { email: 'ada@example.com' } }
const meant = []

function call(type, said) {
  const messageId = `${prefix}-${type}`
  analytics[type]({ ...said, messageId, timestamp, context })
  meant.push({ ...said, type, messageId, timestamp, context })
}

call('track', {
  userId: 'ada',
  event: 'Email Opened',
  properties: { Total: 14.99, count: 3, machine_open: true, subject: 'Ça va? ☕', nested: { 'Deep Key': [1, 'two'] } },
})
call('identify', { userId: 'ada', traits: { email: 'ada@example.com', Plan: 'pro', logins: 7 } })
call('page', { userId: 'ada', name: 'Pricing', properties: { url: 'https://example.com/?q=1', title: 'T' } })
call('screen', { anonymousId: 'anon-1', name: 'Home', properties: { 'Dark Mode': false } })
call('group', { userId: 'ada', groupId: 'initech', traits: { name: 'Initech', employees: 329 } })
call('alias', { userId: 'ada', previousId: 'anon-1' })
await analytics.closeAndFlush({ timeout: 60_000 })

for (const event of meant) console.log(JSON.stringify(event))
for (const error of errors) console.error(JSON.stringify(error))
process.exit(errors.length ? 1 : 0)
