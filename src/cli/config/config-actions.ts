/**
 * `ingot config check` and `show`: reads a file and the environment, resolves what models are called, and prints. Nothing
 * is fetched, loaded or changed.
 */

import { ServingError } from '../../base/errors.ts'
import { settingsProblems } from '../../config/check-settings.ts'
import { configError } from '../../config/errors.ts'
import {
  environmentNow,
  type LoadedConfig,
  loadConfig,
  namedFile,
} from '../../config/load-config.ts'
import {
  EMPTY_CATALOG,
  type ReadCatalog,
  readCatalog,
} from '../../deployment/endpoints/catalog-file.ts'
import {
  type DeclarationDefaults,
  declarationDefaults,
} from '../../deployment/endpoints/endpoint-file.ts'
import type { EndpointCatalog } from '../../deployment/endpoints/endpoint-spec.ts'
import { cliError } from '../errors.ts'
import { openModelAccess } from '../model-access.ts'
import { modelSettingProblem } from '../model-settings.ts'
import { checkReport, problemLines, showReport } from './config-text.ts'

interface Options {
  readonly json?: boolean
}

/** @throws ServingError CONFIG_NOT_WELL after every problem was told, or what keeps the file from being read */
export async function checkConfig(file: string | undefined, { json }: Options): Promise<void> {
  const read = namedFile(file)
  if (read === null) {
    const next = 'name one, or set INGOT_CONFIG'
    throw cliError('CLI_BAD_ARGUMENT', {
      details: { expected: 'a configuration file to check', got: 'none', next },
    })
  }
  const problems = [...settingsProblems({ file: read, environment: environmentNow() })]
  // Defaults come from the settings, so those must be well first.
  const loaded = problems.length > 0 ? null : attempt(problems, () => load(file))
  const defaults = loaded === null ? ANY_DEFAULTS : declarationDefaults(loaded.config)
  const declared: ReadCatalog = readCatalog(read, defaults)
  problems.push(...declared.problems)
  if (loaded !== null && declared.catalog !== null) {
    const { choices } = loaded.config
    const problem = modelSettingProblem(choices, declared.catalog.endpoints.length)
    if (problem !== null) problems.push(problem)
    problems.push(...(await referenceProblems(loaded, declared.catalog, declared)))
  }
  if (json === true) {
    const told = problems.map(({ code, message, param }) => ({ code, message, param }))
    print(JSON.stringify({ file: read.path, isWell: told.length === 0, problems: told }, null, 2))
  }
  if (problems.length > 0) {
    if (json !== true) process.stderr.write(`${problemLines(problems)}\n`)
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    throw configError('CONFIG_NOT_WELL', { details: { file: read.path, count } })
  }
  if (json !== true && loaded !== null && declared.catalog !== null) {
    print(checkReport(read.path, loaded.config, declared.catalog))
  }
}

/** @throws ServingError of the configuration; `check` says more of it */
export async function showConfig(file: string | undefined, { json }: Options): Promise<void> {
  const loaded = load(file)
  const catalog = catalogOfLoaded(loaded)
  if (json === true) {
    const settings = Object.fromEntries(
      loaded.config.choices.map(({ key, value, reason }) => [key, { value, reason }]),
    )
    print(JSON.stringify({ settings, ...catalog }, null, 2))
  } else print(showReport(loaded.config, catalog))
}

function load(configFile: string | undefined): LoadedConfig {
  return loadConfig({ configFile, flags: {} })
}

/** @throws ServingError CONFIG_UNKNOWN_KEY, CONFIG_BAD_VALUE */
function catalogOfLoaded({ config, file }: LoadedConfig): EndpointCatalog {
  if (file === null) return EMPTY_CATALOG
  const { catalog, problems } = readCatalog(file, declarationDefaults(config))
  if (catalog === null) throw problems[0]
  return catalog
}

/** Where settings are not well yet; what they would say makes no declaration wrong. */
const ANY_DEFAULTS: DeclarationDefaults = { activations: 'int8', retention: 'standard' }

/** Models that no catalog entry, source or path can mean. */
async function referenceProblems(
  { config }: LoadedConfig,
  { endpoints }: EndpointCatalog,
  { placed }: ReadCatalog,
): Promise<readonly ServingError[]> {
  const access = await openModelAccess(config.store)
  const problems: ServingError[] = []
  try {
    for (const { name, variants } of endpoints) {
      for (const [at, { source }] of variants.entries()) {
        const error = attemptError(() => access.reference(source))
        if (error === null) continue
        const path = `endpoints.${name}.variants[${at}].source`
        const details = { source: placed(path), key: path, message: error.message }
        problems.push(configError('CONFIG_BAD_MODEL', { param: path, details, cause: error }))
      }
    }
  } finally {
    await access.store.close()
  }
  return problems
}

function attempt<T>(problems: ServingError[], act: () => T): T | null {
  let result: T | null = null
  const error = attemptError(() => {
    result = act()
  })
  if (error !== null) problems.push(error)
  return result
}

function attemptError(act: () => unknown): ServingError | null {
  try {
    act()
    return null
  } catch (error) {
    if (error instanceof ServingError) return error
    throw error
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
