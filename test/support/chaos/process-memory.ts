/**
 * What a process and its children really hold, from /proc: proportional set size, in which a file that several map is
 * counted once, shared out. Linux only.
 */

import { readdirSync, readFileSync } from 'node:fs'

/** Children and their children, without the process itself; those that end meanwhile are left out. */
export function descendants(pid: number): number[] {
  const children = tasksOf(pid).flatMap((task) =>
    text(`/proc/${pid}/task/${task}/children`).split(' ').filter(Boolean).map(Number),
  )
  return children.flatMap((child) => [child, ...descendants(child)])
}

/** Proportional bytes in memory; 0 of a process that has ended. */
export function pssBytes(pid: number): number {
  const kibibytes = /^Pss:\s+(\d+) kB$/m.exec(text(`/proc/${pid}/smaps_rollup`))?.[1]
  return Number(kibibytes ?? 0) * 1024
}

export function isAlive(pid: number): boolean {
  // A killed child is a zombie until its parent has looked.
  return !/^State:\s+[ZX]/m.test(text(`/proc/${pid}/status`) || 'State: X')
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // It has ended between two looks.
    return ''
  }
}
