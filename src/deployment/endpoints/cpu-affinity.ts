/**
 * Binds an engine process to CPUs: `taskset` of util-linux starts it, so that every thread of it is bound from its first
 * instruction on. Looks at the machine through functions that tests replace; owns nothing.
 */

import { accessSync, constants } from 'node:fs'
import { deploymentError } from '../errors.ts'

const PROGRAMS = ['/usr/bin/taskset', '/bin/taskset', '/usr/local/bin/taskset']

/** CPUs of `0-3,8`; the shape was checked when it was declared. */
export function cpusOf(cpuSet: string): readonly number[] {
  return cpuSet.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at)
  })
}

/**
 * What an engine process is started with.
 *
 * @param name - of the endpoint, for the refusal
 * @throws ServingError DEPLOYMENT_BAD_ENDPOINT where this machine cannot do it
 */
export function affinityLauncher(
  name: string,
  cpuSet: string,
  allowedCpus: readonly number[],
  isProgram: (path: string) => boolean = isExecutable,
): readonly string[] {
  const refuse = (expected: string, got: string): Error =>
    deploymentError('DEPLOYMENT_BAD_ENDPOINT', {
      param: 'cpuSets',
      details: { name, expected, got: `cpuSets ${cpuSet}${got}` },
    })
  const cpus = cpusOf(cpuSet)
  const missing = cpus.filter((cpu) => !allowedCpus.includes(cpu))
  if (cpus.length === 0 || missing.length > 0) {
    const got = missing.length === 0 ? '' : `, of which it may not use ${missing.join(', ')}`
    throw refuse(
      `CPUs among the ${allowedCpus.join(', ') || 'none'} that this process may use`,
      got,
    )
  }
  const program = PROGRAMS.find(isProgram)
  if (program === undefined)
    throw refuse('a machine with taskset (package util-linux)', ' without it')
  return [program, '-c', cpuSet]
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // Not there, or not ours to run: the next one may be.
    return false
  }
}
