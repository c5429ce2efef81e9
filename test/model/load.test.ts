/**
 * Issue 3's promise under load: 500 requests over 32 concurrent streams of different lengths, some cancelled at random.
 * Prints its figures, because they are the record.
 */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { ask, askStreamed, type ChatBody } from '../support/chat-client.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'

const MEBIBYTE = 2 ** 20
const NUM_REQUESTS = 500
const NUM_STREAMS = 32
const NUM_SHAPES = 40
const KV_BYTES = 192 * MEBIBYTE
const SEED = 20261123

const TOPICS = [
  'the sea',
  'a train that is late',
  'bread',
  'how bees find flowers',
  'an old lighthouse, the people who kept it, and the storms that they saw from its windows',
  'prime numbers',
  'a letter to a friend who moved far away and has not written for a year',
  'rain',
]

let server: ServerProcess

beforeAll(async () => {
  server = await ServerProcess.start(['--kv-memory', String(KV_BYTES)])
})
afterAll(async () => {
  const stoppingMs = performance.now()
  expect(await server.stop()).toBe(0)
  // Nothing is open, so no grace period is waited for, whatever connections the client still keeps.
  expect(performance.now() - stoppingMs).toBeLessThan(5000)
})

/** Different prompts, lengths and temperatures; each appears several times among the requests. */
function shapes(): ChatBody[] {
  const random = seededRandom(SEED)
  return Array.from({ length: NUM_SHAPES }, (_, index) => {
    const topic = TOPICS[index % TOPICS.length] ?? ''
    const padding = 'Think about it in peace. '.repeat(random.below(12))
    return {
      model: MODEL_ID,
      messages: [{ role: 'user', content: `${padding}Write about ${topic}.` }],
      max_tokens: 4 + random.below(40),
      temperature: index % 3 === 0 ? 0 : 0.9,
      seed: index,
    }
  })
}

it(`answers ${NUM_REQUESTS} requests over ${NUM_STREAMS} streams exactly as each alone, and leaks nothing`, async () => {
  const bodies = shapes()
  const alone: string[] = []
  for (const body of bodies) alone.push(await ask(server.url, body))
  const before = await server.replica()
  expect(before.free_blocks).toBe(before.blocks)
  // A scrape begins a new window of the event-loop histogram.
  await server.metric('ingot_event_loop_delay_p99_seconds')

  const random = seededRandom(SEED + 1)
  const plans = Array.from({ length: NUM_REQUESTS }, () => ({
    shape: random.below(NUM_SHAPES),
    isStreamed: random.next() < 0.8,
    // Of every six one hangs up: most in the middle of the answer, some while they wait.
    cancelAfter: random.next() < 1 / 6 ? random.below(12) : null,
  }))
  let next = 0
  let numCompleted = 0
  let numCancelled = 0
  const differing: string[] = []
  const startMs = performance.now()
  const worker = async (): Promise<void> => {
    for (;;) {
      const plan = plans[next++]
      if (plan === undefined) return
      const body = bodies[plan.shape]
      if (body === undefined) throw new Error('no such shape')
      const controller = new AbortController()
      const { signal } = controller
      const { cancelAfter } = plan
      if (cancelAfter !== null && !plan.isStreamed) {
        setTimeout(() => controller.abort(), cancelAfter * 30)
      }
      try {
        if (cancelAfter === 0) setImmediate(() => controller.abort())
        const text = plan.isStreamed
          ? await streamed(body, signal, (numChunks) => {
              if (cancelAfter !== null && numChunks >= cancelAfter) controller.abort()
            })
          : await ask(server.url, body, signal)
        numCompleted += 1
        if (text !== alone[plan.shape]) differing.push(`shape ${plan.shape}: ${text}`)
      } catch (error) {
        if (!signal.aborted) throw error
        numCancelled += 1
      }
    }
  }
  await Promise.all(Array.from({ length: NUM_STREAMS }, worker))
  const seconds = (performance.now() - startMs) / 1000

  const delayMs = 1000 * (await server.metric('ingot_event_loop_delay_p99_seconds'))
  const rssApi = await server.metric('ingot_resident_memory_bytes')
  const rssEngine = await server.metric('ingot_engine_resident_memory_bytes')
  const health = await server.waitUntil('idle', ({ open_requests, replicas }) => {
    const [replica] = replicas
    return open_requests === 0 && replica?.running === 0 && replica.waiting === 0
  })
  const weightsBytes = 98_362_432
  const limit = weightsBytes * 1.3 + KV_BYTES + 250 * MEBIBYTE
  const mebibytes = (bytes: number): string => `${(bytes / MEBIBYTE).toFixed(0)} MiB`
  console.log(
    [
      `${numCompleted} completed, ${numCancelled} cancelled in ${seconds.toFixed(1)} s`,
      `event-loop delay p99 ${delayMs.toFixed(1)} ms`,
      `RSS engine ${mebibytes(rssEngine)}, API ${mebibytes(rssApi)}, limit ${mebibytes(limit)}`,
    ].join('; '),
  )
  expect(differing).toEqual([])
  expect(numCompleted + numCancelled).toBe(NUM_REQUESTS)
  expect(numCancelled).toBeGreaterThan(20)
  expect(health.replicas[0]?.free_blocks).toBe(health.replicas[0]?.blocks)
  expect(delayMs).toBeLessThan(20)
  expect(rssEngine).toBeLessThan(limit)
  expect(rssApi).toBeLessThan(limit)
}, 900_000)

async function streamed(
  body: ChatBody,
  signal: AbortSignal,
  onChunk: (numChunks: number) => void,
): Promise<string> {
  const answer = await askStreamed(server.url, body, { signal, onChunk })
  if (answer.error !== null || !answer.isDone) throw new Error(JSON.stringify(answer))
  return answer.text
}
