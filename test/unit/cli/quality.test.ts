import { describe, expect, it } from 'vitest'
import {
  compareRow,
  lossOf,
  mean,
  quantile,
  standardError,
} from '../../../src/cli/quality/divergence.ts'
import type { VariantResult } from '../../../src/cli/quality/measure-variants.ts'
import { qualityPage } from '../../../src/cli/quality/quality-page.ts'
import { type QualityRecord, qualityTable } from '../../../src/cli/quality/quality-report.ts'
import { cutWindows } from '../../../src/cli/quality/windows.ts'

describe('divergence of one row from another', () => {
  it('is zero for the same row, and for one that was shifted', () => {
    const row = Float32Array.of(1, 2, 3)
    const same = compareRow(row, row, 0)
    expect(same.kl).toBe(0)
    expect(same.isSameTop).toBe(true)
    expect(compareRow(row, Float32Array.of(11, 12, 13), 0).kl).toBeCloseTo(0, 12)
  })

  it('is the sum that its definition says', () => {
    // p = ½, ½ and q = ¼, ¾
    const p = Float32Array.of(0, 0)
    const q = Float32Array.of(0, Math.log(3))
    const { kl, isSameTop, loss } = compareRow(p, q, 0)
    expect(kl).toBeCloseTo(0.5 * Math.log(2) + 0.5 * Math.log(2 / 3), 6)
    expect(isSameTop).toBe(false)
    expect(loss).toBeCloseTo(Math.log(4), 6)
    expect(lossOf(p, 1)).toBeCloseTo(Math.log(2), 6)
  })

  it('survives logits that no exponential holds', () => {
    const large = Float32Array.of(3e38, 0, -3e38)
    expect(compareRow(large, large, 0)).toEqual({ kl: 0, isSameTop: true, loss: 0 })
  })

  it('takes quantiles by rank', () => {
    const sorted = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    expect([0, 0.5, 0.9, 0.99, 1].map((share) => quantile(sorted, share))).toEqual([
      0, 5, 9, 10, 10,
    ])
    expect(mean([1, 2, 6])).toBe(3)
  })

  it('says how sure a mean is', () => {
    expect(standardError([1, 2, 6])).toBeCloseTo(Math.sqrt(7 / 3), 12)
    expect([standardError([5]), standardError([])]).toEqual([0, 0])
  })
})

describe('windows of a text', () => {
  const text = Int32Array.of(2, 10, 11, 12, 13, 14, 15)

  it('each begin with the token that the text begins with', () => {
    const windows = cutWindows(text, 3, 2).map((window) => [...window])
    // The last token alone would predict nothing.
    expect(windows).toEqual([
      [2, 10, 11],
      [2, 13, 14],
    ])
    expect(text[3]).toBe(12)
  })

  it('are the text itself where the tokenizer puts nothing before it', () => {
    for (const bosTokenId of [null, 1]) {
      const windows = cutWindows(text, 4, bosTokenId).map((window) => [...window])
      expect(windows).toEqual([
        [2, 10, 11, 12],
        [13, 14, 15],
      ])
    }
  })
})

const plain: VariantResult = {
  variant: 'f32',
  computesIn: 'f32, f32 KV',
  weightsBytes: 2 ** 20,
  memoryBytes: 3 * 2 ** 20,
  perplexity: 12.3456,
  meanKl: null,
  meanKlError: null,
  medianKl: null,
  p90Kl: null,
  p99Kl: null,
  topAgreement: null,
  prefillTokensPerSecond: 1000,
  decodeTokensPerSecond: 50,
}
const int4: VariantResult = {
  ...plain,
  variant: 'int4',
  computesIn: 'int8, bf16 KV',
  weightsBytes: 2 ** 18,
  meanKl: 0.01234,
  meanKlError: 0.0004,
  medianKl: 0.004,
  p90Kl: 0.03,
  p99Kl: 0.2,
  topAgreement: 0.9512,
}
const record: QualityRecord = {
  kind: 'ingot-quality',
  version: '1.2.3',
  ortVersion: '1.30.0',
  kernels: 'avx2',
  date: '2026-01-02T03:04:05.000Z',
  machine: 'CPU <x> × 2, 8.00 GiB',
  threads: 2,
  model: 'a & b',
  digest: 'ab',
  checkpointBytes: 2048,
  stored: 'BF16',
  text: 'text.txt',
  textDigest: '0123456789abcdef0123',
  predictedTokens: 98,
  inputTokens: 100,
  contextTokens: 50,
  batch: 1,
  cacheState: 'empty at every window',
  prefillTokens: 256,
  decodeTokens: 32,
  rounds: 3,
  reference: 'f32',
  variants: [plain, int4],
}

describe('the report of a measurement', () => {
  it('has a row a variant, and says everything that a comparison needs', () => {
    const lines = qualityTable(record).split('\n')
    expect(lines.slice(0, 3).map((line) => line.split(/\s{2,}/))).toEqual([
      [
        'VARIANT',
        'COMPUTES IN',
        'ON DISK',
        'MEMORY',
        'PERPLEXITY',
        'MEAN KL',
        'P99 KL',
        'TOP-1',
        'PREFILL',
        'DECODE',
      ],
      [
        'f32',
        'f32, f32 KV',
        '1.00 MiB',
        '3.00 MiB',
        '12.346',
        '–',
        '–',
        '–',
        '1000 tok/s',
        '50.0 tok/s',
      ],
      [
        'int4',
        'int8, bf16 KV',
        '256.0 KiB',
        '3.00 MiB',
        '12.346',
        '0.01234',
        '0.20000',
        '95.12 %',
        '1000 tok/s',
        '50.0 tok/s',
      ],
    ])
    const foot = lines.slice(4).join(' ')
    for (const word of [
      'sha256 ab',
      '100 tokens in windows of 50',
      '98 of them',
      'batch 1',
      'cache empty',
      '256 tokens in',
      'Ingot 1.2.3',
      'avx2',
      '2026-01-02',
    ]) {
      expect(foot).toContain(word)
    }
  })

  it('is one page that loads nothing, with three plots, and nothing unescaped', () => {
    const page = qualityPage(record)
    expect(page.match(/<svg /g)).toHaveLength(3)
    expect(page).not.toMatch(/<script|<link|src=|https?:/)
    expect(page).toContain('a &amp; b')
    expect(page).not.toContain('CPU <x>')
    expect(page).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('has plots also when there is nothing to compare with', () => {
    expect(qualityPage({ ...record, variants: [plain] })).toContain('There is no other variant.')
  })
})
