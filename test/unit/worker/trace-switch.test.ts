import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { switchTrace, switchTraceBySignal } from '../../../src/worker/trace-switch.ts'

const folder = mkdtempSync(join(tmpdir(), 'ingot-trace-'))
afterEach(() => {
  process.removeAllListeners('SIGUSR2')
  rmSync(folder, { recursive: true, force: true })
})

it('SIGUSR2 switches a trace on, then writes it', () => {
  let trace: string | null = null
  const engine = {
    startTrace: () => {
      trace = '{"traceEvents":[]}'
    },
    endTrace: () => {
      const json = trace
      trace = null
      return json
    },
  }
  const lines: string[] = []
  switchTraceBySignal(engine, join(folder, 'traces'), (line) => lines.push(line))
  process.emit('SIGUSR2')
  process.emit('SIGUSR2')
  const [file] = readdirSync(join(folder, 'traces'))
  expect(readFileSync(join(folder, 'traces', file ?? ''), 'utf8')).toBe('{"traceEvents":[]}')
  expect(lines).toEqual([
    'step trace on; the next SIGUSR2 writes it',
    expect.stringContaining(file ?? 'nothing'),
  ])
})

it('a folder that cannot be made costs the trace, not the engine', () => {
  const lines: string[] = []
  const engine = { startTrace: () => {}, endTrace: () => '{}' }
  switchTraceBySignal(engine, '/dev/null/traces', (line) => lines.push(line))
  process.emit('SIGUSR2')
  expect(lines).toEqual([expect.stringMatching(/^step trace lost: /)])
})

it('a message switches it, and says what became of it', () => {
  let json: string | null = null
  const engine = {
    startTrace: () => {
      json = '{}'
    },
    endTrace: () => {
      const was = json
      json = null
      return was
    },
  }
  const off = { isOn: false, file: null }
  expect(switchTrace(engine, undefined, 'start')).toEqual({
    ...off,
    reason: 'this engine has no folder for traces',
  })
  expect(switchTrace(engine, folder, 'stop')).toEqual({ ...off, reason: 'none was on' })
  expect(switchTrace(engine, folder, 'start')).toEqual({ isOn: true, file: null, reason: null })
  expect(switchTrace(engine, folder, 'start').reason).toMatch(/^one was on/)
  const { file } = switchTrace(engine, folder, 'stop')
  expect(readFileSync(file ?? '', 'utf8')).toBe('{}')
  switchTrace(engine, folder, 'start')
  expect(switchTrace(engine, '/dev/null/traces', 'stop')).toMatchObject({
    ...off,
    reason: expect.any(String),
  })
})
