/** What a result must say of the machine and the commit it was taken on. Reads, owns nothing. */

import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, totalmem } from 'node:os'

export interface MachineRecord {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly node: string
  readonly commit: string
  readonly date: string
}

export function describeMachine(): MachineRecord {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    commit: commit(),
    date: new Date().toISOString(),
  }
}

/** Short commit id, with `+` when the tree has changes; `unknown` outside a checkout. */
function commit(): string {
  try {
    const id = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
    const changes = execFileSync(
      'git',
      ['status', '--porcelain', '--', '.', ':!benchmarks/results'],
      { encoding: 'utf8' },
    )
    return changes.trim() === '' ? id : `${id}+`
  } catch {
    // A source archive has no history; the record then says so instead of failing the measurement.
    return 'unknown'
  }
}
