/** The official clients against real weights: the same scripted conversation as against the fake in `test/api`. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { converse } from '../api/openai-client-script.ts'
import { converseInPython, pythonWithOpenAi } from '../support/openai-python.ts'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'

let server: ServerProcess

beforeAll(async () => {
  server = await ServerProcess.start()
})
afterAll(() => server.stop())

it('the npm client has its scripted conversation, and nothing is left of it', async () => {
  expect(await converse({ baseURL: `${server.url}/v1`, model: MODEL_ID })).toHaveLength(9)
  await server.waitUntil('idle', isIdle)
})

it('the PyPI client has the same conversation', async (context) => {
  const found = await pythonWithOpenAi()
  if ('reason' in found) return context.skip(found.reason)
  const baseURL = `${server.url}/v1`
  expect(await converseInPython(found.python, { baseURL, model: MODEL_ID })).toHaveLength(8)
  await server.waitUntil('idle', isIdle)
})

function isIdle({
  open_requests,
  replicas,
}: Awaited<ReturnType<ServerProcess['health']>>): boolean {
  const [replica] = replicas
  return open_requests === 0 && replica?.running === 0 && replica.free_blocks === replica.blocks
}
