// The page's script: makes every call that Segment's browser SDK offers and posts what it meant to /meant.
// What it shall do is in the page's address: collector, key, prefix, batching.
import { AnalyticsBrowser } from '@segment/analytics-next'

const asked = new URLSearchParams(location.search)
const prefix = asked.get('prefix')
const report = (path, value) => fetch(path, { method: 'POST', body: JSON.stringify(value) })
window.addEventListener('error', (error) => report('/failed', String(error.message)))
window.addEventListener('unhandledrejection', (event) => report('/failed', String(event.reason)))

async function run() {
  // Only the collector is named: where events go must follow from the settings that it serves.
  const batching = { deliveryStrategy: { strategy: 'batching', config: { size: 4, timeout: 300 } } }
  const [analytics] = await AnalyticsBrowser.load(
    { writeKey: asked.get('key'), cdnURL: asked.get('collector') },
    asked.has('batching') ? { integrations: { 'Segment.io': batching } } : {},
  )
  const said = (type) => ({
    messageId: `${prefix}-${type}`,
    timestamp: '2026-08-03T09:41:07.123Z',
    context: { campaign: { name: 'spring' }, traits: { email: 'ada@example.com' } },
  })
  const calls = [
    analytics.track(
      'Email Opened',
      { Total: 14.99, count: 3, machine_open: true, subject: 'Ça va? ☕', nested: { 'Deep Key': [1, 'two'] } },
      said('track'),
    ),
    analytics.identify('ada', { email: 'ada@example.com', Plan: 'pro', logins: 7 }, said('identify')),
    analytics.page('Docs', 'Pricing', { url: 'https://example.com/?q=1', title: 'T' }, said('page')),
    analytics.screen('Home', { 'Dark Mode': false }, said('screen')),
    analytics.group('initech', { name: 'Initech', employees: 329 }, said('group')),
    analytics.alias('ada', 'anon-1', said('alias')),
  ]
  const sent = await Promise.all(calls)
  await report('/meant', sent.map((context) => context.event))
}

run().catch((error) => report('/failed', String(error.stack)))
