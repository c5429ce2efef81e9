/**
 * The table of settings as flags of a command, and back: commander's parsed options to values by key. Checks nothing,
 * because the configuration does, with one wording for all sources.
 */

import { type Command, Option } from 'commander'
import { AUTO, formatBytes } from '../config/option.ts'
import { OPTION_KEYS, OPTIONS, type OptionKey } from '../config/options.ts'

/** Settings of where things are and how much is said; every command has them. */
export const COMMON_KEYS: readonly OptionKey[] = ['store.home', 'log.level']
/** What decides how much memory a model needs. */
export const MEMORY_KEYS: readonly OptionKey[] = [
  'model.weights',
  'model.weightsHead',
  'model.weightsEmbedding',
  'model.weightsGroup',
  'model.weightsSymmetry',
  'model.weightsOverrides',
  'engine.kvMemory',
  'engine.activations',
  'engine.kvDtype',
  'engine.blockSize',
  'engine.maxBatchTokens',
  'engine.maxSequences',
  'engine.maxContext',
]

/** What a measurement of quality heeds. */
export const BENCH_KEYS: readonly OptionKey[] = [
  ...COMMON_KEYS,
  'store.packCache',
  'model.weightsHead',
  'model.weightsEmbedding',
  'model.weightsGroup',
  'model.weightsSymmetry',
  'model.weightsOverrides',
  'engine.threads',
  'engine.activations',
  'engine.kvDtype',
]

/** Add a flag for each key that has one, and `--config`. */
export function addConfigFlags(
  command: Command,
  keys: readonly OptionKey[] = OPTION_KEYS,
): Command {
  command.addOption(
    new Option(
      '--config <file>',
      'YAML or JSON file with settings and endpoints (env INGOT_CONFIG)',
    ),
  )
  for (const key of keys) {
    const { flag, help, env } = OPTIONS[key]
    if (flag === null) continue
    command.addOption(new Option(flag, `${help} (default ${defaultText(key)}, env ${env})`))
  }
  return command
}

/** Flags that were given, by key. */
export function flagsOf(
  parsed: Readonly<Record<string, unknown>>,
): Partial<Record<OptionKey, unknown>> {
  const flags: Partial<Record<OptionKey, unknown>> = {}
  for (const key of OPTION_KEYS) {
    const { flag } = OPTIONS[key]
    const value = flag === null ? undefined : parsed[new Option(flag).attributeName()]
    if (value !== undefined) flags[key] = value
  }
  return flags
}

/** The default as a person would write it. */
export function defaultText(key: OptionKey): string {
  const { default: value, kind } = OPTIONS[key]
  return kind === 'bytes' && value !== AUTO ? formatBytes(Number(value)) : String(value)
}
