/** How the real server starts, survives the death of its engine, and goes down. */

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { ask, askStreamed, type ChatBody } from '../support/chat-client.ts'
import { MODEL_ID, ServerProcess } from '../support/server-process.ts'

let server: ServerProcess | undefined

afterEach(async () => {
  await server?.stop('SIGKILL')
  server = undefined
})

function chat(maxTokens: number, seed = 1): ChatBody {
  return {
    model: MODEL_ID,
    messages: [{ role: 'user', content: 'Tell a long story about a river.' }],
    max_tokens: maxTokens,
    temperature: 0.8,
    seed,
  }
}

describe('ingot serve', () => {
  it('prints what it chose and why, and is ready in time when everything is there', async () => {
    server = await ServerProcess.start()
    for (const name of ['model', 'digest', 'quantization', 'threads', 'kv-memory', 'port']) {
      expect(server.startText).toMatch(new RegExp(`^  ${name} +\\S.* {2,}\\S`, 'm'))
    }
    console.log(`ready after ${(server.startMs / 1000).toFixed(2)} s`)
    // The promise is 2 s; the limit leaves room for a machine that is busy with other tests.
    expect(server.startMs).toBeLessThan(6000)
    const answer = await ask(server.url, chat(8))
    expect(answer.length).toBeGreaterThan(0)
  })

  it('tells every stream of a dead engine, stays up, and answers again as before', async () => {
    server = await ServerProcess.start()
    const { url } = server
    const expected = await ask(url, chat(12))
    const { pid, blocks } = await server.replica()
    let numStarted = 0
    const streams = Array.from({ length: 16 }, (_, seed) => {
      let hasStarted = false
      return askStreamed(url, chat(1000, seed), {
        onChunk: (numChunks) => {
          if (hasStarted || numChunks < 3) return
          hasStarted = true
          numStarted += 1
          if (numStarted === 16 && pid !== null) process.kill(pid, 'SIGKILL')
        },
      })
    })
    for (const answer of await Promise.all(streams)) {
      expect(answer.error?.message).toContain('engine')
      expect(answer.error?.type).toBe('server_error')
      expect(answer.finishReason).toBeNull()
    }
    const during = await fetch(`${url}/v1/models`)
    expect(during.status).toBe(200)
    const health = await server.waitUntil('ready again', ({ status }) => status === 'ok')
    expect(health.replicas[0]).toMatchObject({
      state: 'ready',
      restarts: 1,
      blocks,
      free_blocks: blocks,
    })
    expect(health.replicas[0]?.pid).not.toBe(pid)
    expect(health.open_requests).toBe(0)
    expect(await ask(url, chat(12))).toBe(expected)
    const after = await server.replica()
    expect(after).toMatchObject({ running: 0, waiting: 0, free_blocks: blocks })
  })

  it('ends with 1 once its engine is given up, so that what watches over it starts it again', async () => {
    server = await ServerProcess.start()
    const { child } = server
    const exit = once(child, 'exit')
    let numKilled = 0
    while (child.exitCode === null) {
      const replica = await server.replica().catch(() => null)
      if (replica?.state === 'ready' && replica.pid !== null && replica.restarts === numKilled) {
        process.kill(replica.pid, 'SIGKILL')
        numKilled += 1
      }
      // It must not need all of the test's time when it never ends.
      if (replica?.state === 'failed') await Promise.race([exit, sleep(5000)])
      if (replica?.state === 'failed') break
      await sleep(50)
    }
    expect({ code: child.exitCode, numKilled }).toEqual({ code: 1, numKilled: 6 })
    expect(server.log).toContain('[WORKER_GIVEN_UP]')
  }, 60_000)

  it('lets open answers finish after SIGTERM, refuses new ones, and exits with 0', async () => {
    server = await ServerProcess.start()
    const { url } = server
    let exit: Promise<number | null> | undefined
    const answer = await askStreamed(url, chat(60), {
      onChunk: (numChunks) => {
        if (numChunks === 3) exit = server?.stop('SIGTERM')
      },
    })
    expect(answer).toMatchObject({ error: null, isDone: true })
    expect(await exit).toBe(0)
    await expect(fetch(`${url}/health`)).rejects.toThrow()
  })

  it('cancels what is left after the grace period, tells the client, and still exits with 0', async () => {
    server = await ServerProcess.start(['--grace-period', '0'])
    let exit: Promise<number | null> | undefined
    const answer = await askStreamed(server.url, chat(2000), {
      onChunk: (numChunks) => {
        if (numChunks === 3) exit = server?.stop('SIGTERM')
      },
    })
    expect(answer.error).not.toBeNull()
    expect(await exit).toBe(0)
  })

  it('writes one audit record a request, the configuration first', async () => {
    server = await ServerProcess.start()
    await ask(server.url, chat(4))
    const file = server.auditFile
    // Records are written in batches; a scrape says when none is pending.
    await server.waitUntil('written', () => true)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const records = (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(records).toHaveLength(2)
    expect(records[0].type).toBe('configuration')
    expect(records[1]).toMatchObject({ resolvedModel: MODEL_ID, outcome: 'completed' })
  })
})
