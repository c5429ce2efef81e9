/**
 * llama.cpp through its own `llama-batched-bench`, one process a measurement (it loads in well under a second).
 * It makes its own prompts of the asked length; only shapes are comparable, which is what the trials ask.
 */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type BatchRequest, type BenchSystem, CannotMeasure } from './bench-system.ts'

const run = promisify(execFile)

export interface LlamaCppOptions {
  /** Folder with `llama-batched-bench` and `llama-server`. */
  readonly binaries: string
  readonly model: string
  readonly threads: number
  readonly weights: string
}

interface BatchedBenchRow {
  readonly t_pp: number
  readonly t_tg: number
  readonly pl: number
  readonly tg: number
}

export async function startLlamaCpp(options: LlamaCppOptions): Promise<BenchSystem> {
  const program = `${options.binaries}/llama-batched-bench`
  const { stdout, stderr } = await run(`${options.binaries}/llama-server`, ['--version'])
  const version = /version: (.+)/.exec(stdout + stderr)?.[1] ?? 'unknown'
  return {
    name: 'llama.cpp',
    version: `llama.cpp ${version}`,
    weights: options.weights,
    run: async (request: BatchRequest) => {
      if (request.late !== undefined) {
        throw new CannotMeasure('llama-batched-bench adds no prompt to a running batch')
      }
      const numSeqs = request.prompts.length
      const promptTokens = request.prompts[0]?.length ?? 0
      const context = numSeqs * (promptTokens + request.outputTokens + 8)
      const args = [
        '-m',
        options.model,
        '-t',
        `${options.threads}`,
        '-c',
        `${context}`,
        '-b',
        '2048',
        '-ub',
        '512',
      ]
      args.push('-npp', `${promptTokens}`, '-ntg', `${request.outputTokens}`, '-npl', `${numSeqs}`)
      const result = await run(program, [...args, '--output-format', 'jsonl'])
      const line = result.stdout.split('\n').find((text) => text.startsWith('{'))
      if (line === undefined)
        throw new Error(`llama-batched-bench printed no result: ${result.stderr.slice(-1000)}`)
      const row = JSON.parse(line) as BatchedBenchRow
      return { prefillSeconds: row.t_pp, decodeSeconds: row.t_tg, decodeTokens: row.pl * row.tg }
    },
    close: async () => {},
  }
}
