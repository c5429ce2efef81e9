/**
 * Everything that is wrong with the settings of a file and of the environment, for `ingot config check`; a start stops
 * at the first. Pure. Which values go together is `resolve-config.ts`'s, once each is well.
 */

import { ServingError } from '../base/errors.ts'
import type { MapNode } from './document.ts'
import { readValue } from './option.ts'
import { OPTIONS } from './options.ts'
import { collectValues, valuesOfEnvironment, type WrittenValues } from './sources.ts'

export interface SettingsSources {
  readonly file: { readonly path: string; readonly root: MapNode } | null
  readonly environment: Readonly<Record<string, string | undefined>>
}

export function settingsProblems({ file, environment }: SettingsSources): readonly ServingError[] {
  const problems: ServingError[] = []
  const sources: WrittenValues[] = []
  if (file !== null) sources.push(collectValues(file.path, file.root, problems))
  attempt(problems, () => sources.push(valuesOfEnvironment(environment)))
  for (const values of sources) {
    for (const [key, { value, origin }] of values) {
      attempt(problems, () => readValue<unknown>(OPTIONS[key], value, origin))
    }
  }
  return problems
}

function attempt(problems: ServingError[], act: () => void): void {
  try {
    act()
  } catch (error) {
    if (!(error instanceof ServingError)) throw error
    problems.push(error)
  }
}
