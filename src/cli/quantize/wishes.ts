/**
 * What the command line of `ingot quantize` asks for, checked; and where the folder may stand. Owns the flags' words.
 */

import { mkdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { cliError } from '../errors.ts'

export interface Wishes {
  readonly bits: 4 | 8
  readonly group: 32 | 64 | 128 | null
  readonly isSymmetric: boolean
  readonly method: 'gptq' | 'rtn'
  readonly calibrate: string | null
  readonly output: string
}

/** @throws ServingError CLI_BAD_ARGUMENT */
export function readWishes(parsed: Readonly<Record<string, unknown>>): Wishes {
  const method = pick('--method', parsed.method, { gptq: 'gptq', rtn: 'rtn' } as const)
  const calibrate = parsed.calibrate as string | undefined
  if (method === 'rtn' && calibrate !== undefined) {
    throw badArgument(
      '--calibrate',
      'no text for rounding to nearest',
      calibrate,
      'leave one of the two out',
    )
  }
  return {
    bits: pick('--weights', parsed.weights, { int4: 4, int8: 8 } as const),
    group: pick('--group', parsed.group, { auto: null, 32: 32, 64: 64, 128: 128 } as const),
    isSymmetric: pick('--symmetry', parsed.symmetry, { symmetric: true, asymmetric: false }),
    method,
    calibrate: calibrate === undefined ? null : resolve(calibrate),
    output: resolve(String(parsed.output)),
  }
}

/** Own members only: `__proto__` and `constructor` are words like any other. */
function pick<T>(flag: string, value: unknown, known: Readonly<Record<string, T>>): T {
  const word = String(value)
  const found = Object.hasOwn(known, word) ? known[word] : undefined
  if (found !== undefined) return found
  throw badArgument(flag, `one of ${Object.keys(known).join(', ')}`, word, 'choose one')
}

/** @throws ServingError CLI_BAD_ARGUMENT unless `output` is free and its parent is a folder */
export async function checkOutput(output: string): Promise<void> {
  const parent = dirname(output)
  const isFolder = await stat(parent).then(
    (found) => found.isDirectory(),
    () => false,
  )
  if (!isFolder) {
    const next = 'make that folder first, or choose another place'
    throw badArgument('-o', 'in a folder that is there', `${parent}, which is none`, next)
  }
  if ((await stat(output).catch(() => null)) !== null) {
    const wanted = 'a folder that is not there yet'
    throw badArgument('-o', wanted, `${output}, which is`, 'choose another name')
  }
}

/** A hidden folder beside `output` to write in. Not recursive: on some file systems Node would try for ever. */
export async function makeScratch(output: string): Promise<string> {
  const scratch = join(dirname(output), `.${basename(output)}.${process.pid}.part`)
  await mkdir(scratch).catch((cause: Error) => {
    throw badArgument('-o', 'where it can be written', cause.message, 'choose another place')
  })
  return scratch
}

export function badArgument(flag: string, wanted: string, got: string, next: string): Error {
  const details = { expected: `${flag} to be ${wanted}`, got, next }
  return cliError('CLI_BAD_ARGUMENT', { param: flag, details })
}
