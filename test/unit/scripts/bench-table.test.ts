import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { renderBenchTables, renderRecord } from '../../../scripts/render-bench-table.mjs'

const ROOT = join(import.meta.dirname, '../../..')
const readRecord = (path: string) =>
  JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as Record<string, unknown>

const MACHINE = { cpu: 'CPU', date: '2026-01-02T00:00:00Z', commit: 'abc' }
const MODEL = { id: 'model.gguf', quantization: 'Q4_0' }

it('README’s figures are those of the records that it names', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  expect(readme).toContain('<!-- bench: ')
  // When this fails: npm run bench:table
  expect(renderBenchTables(readme, readRecord)).toBe(readme)
})

describe('renderRecord', () => {
  it('has a row a trial, the best in bold, and what was met', () => {
    const result = (system: string, median: number) => {
      const shape = { trial: 'decode-4', figure: 'decode', numSeqs: 4, promptTokens: 128 }
      return { ...shape, system, tokensPerSecond: { median } }
    }
    const record = {
      benchmark: 'engine-targets',
      machine: MACHINE,
      model: MODEL,
      threads: 2,
      systems: [{ name: 'ingot' }, { name: 'openvino' }],
      results: [result('ingot', 1234.4), result('openvino', 500)],
      ratios: [
        { trial: 'decode-4', ratio: 2.2, bestPeer: 'openvino', measured: 2.469, isMet: true },
      ],
      shares: [{ trial: 'decode-1', limit: 'memory', measured: 0.7, share: 0.8, isMet: false }],
    }
    expect(renderRecord(record, 'r.json').split('\n').slice(2)).toEqual([
      '| tokens/s | Ingot | OpenVINO GenAI | target |',
      '| --- | --- | --- | --- |',
      '| decode, 4 sequences | **1,234** | 500 | 2.47× OpenVINO GenAI, target 2.2×: met |',
      '',
      '- decode-1: 70 % of the memory’s bandwidth (target 80 %, missed)',
    ])
  })

  it('says goodput in a sentence, with what was missed', () => {
    const record = {
      benchmark: 'http-goodput',
      machine: MACHINE,
      target: { timeToFirstTokenMs: 1000, interTokenMs: 50, ratio: 3 },
      ratio: 2.5,
      systems: [
        { name: 'ingot', goodput: 10 },
        { name: 'llama.cpp', goodput: 4 },
      ],
    }
    expect(renderRecord(record, 'r.json')).toContain(
      'Ingot 10.0, llama.cpp 4.0 (2.5×, target 3×, missed)',
    )
  })
})
