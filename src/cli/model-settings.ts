/** Settings of one model beside a file that declares endpoints: they would reach nothing, so they are refused by name. */

import type { ServingError } from '../base/errors.ts'
import type { Choice } from '../config/runtime-config.ts'
import { cliError } from './errors.ts'

/** @returns `null` when no setting of `model` was written */
export function modelSettingProblem(
  choices: readonly Choice[],
  numEndpoints: number,
): ServingError | null {
  const written = choices.find(
    ({ key, origin }) => key.startsWith('model.') && origin !== 'default' && origin !== 'auto',
  )
  if (written === undefined || numEndpoints === 0) return null
  const { key, value, reason } = written
  const got = `${key} ${value} (${reason}) and a file with ${numEndpoints} endpoints`
  const next = 'leave it out, or say it of an endpoint in the file'
  const details = { expected: 'either one model or endpoints', got, next }
  return cliError('CLI_BAD_ARGUMENT', { param: key, details })
}
