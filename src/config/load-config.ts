/**
 * The impure edge of the configuration: reads the environment, the file that it or `--config` names, and the machine.
 * The only module of the product that touches `process.env`.
 */

import { closeSync, openSync, readSync } from 'node:fs'
import { resolve } from 'node:path'
import { type ConfigFile, MAX_FILE_BYTES, type MapNode, parseConfigFile } from './document.ts'
import { configError } from './errors.ts'
import { detectHardware, type Hardware } from './hardware.ts'
import { CONFIG_FILE_VARIABLE, type OptionKey } from './options.ts'
import { resolveConfig } from './resolve-config.ts'
import type { RuntimeConfig } from './runtime-config.ts'
import {
  changedKeys,
  valuesOfDocument,
  valuesOfEnvironment,
  valuesOfFlags,
  type WrittenValues,
} from './sources.ts'

/** A file that was read, with what it declares besides settings still to be made sense of. */
export interface ReadConfigFile {
  readonly path: string
  readonly root: MapNode
}

export interface LoadedConfig {
  readonly config: RuntimeConfig
  readonly hardware: Hardware
  /** `null` when no file was named. */
  readonly file: ReadConfigFile | null
}

export interface CommandLine {
  /** `--config`. */
  readonly configFile: string | undefined
  readonly flags: Readonly<Partial<Record<OptionKey, unknown>>>
}

/** @throws ServingError of this room */
export function loadConfig({ configFile, flags }: CommandLine): LoadedConfig {
  const environment = environmentNow()
  const hardware = detectHardware()
  const file = namedFile(configFile, environment)
  const written: WrittenValues[] = file === null ? [] : [valuesOfDocument(file.path, file.root)]
  written.push(valuesOfEnvironment(environment), valuesOfFlags(flags))
  const config = resolveConfig({ written, hardware, environment, folder: process.cwd() })
  return { config, hardware, file }
}

export function environmentNow(): Readonly<Record<string, string | undefined>> {
  return Object.freeze({ ...process.env })
}

/**
 * The file that `--config` or `INGOT_CONFIG` names, read now; also to read it again.
 *
 * @throws ServingError CONFIG_FILE_UNREADABLE and what `parseConfigFile` throws
 */
export function namedFile(
  configFile: string | undefined,
  environment: Readonly<Record<string, string | undefined>> = environmentNow(),
): ReadConfigFile | null {
  const named = configFile ?? environment[CONFIG_FILE_VARIABLE]
  if (named === undefined || named === '') return null
  const source = configFile === undefined ? CONFIG_FILE_VARIABLE : '--config'
  return { path: named, root: parseConfigFile(readConfigFile(named, source)) }
}

/**
 * The same file as it is now, for a server that runs: what it declares may have changed, its settings may not, because
 * they are read at a start.
 *
 * @throws ServingError CONFIG_NEEDS_RESTART naming the settings, and what `namedFile` throws
 */
export function rereadFile(
  before: LoadedConfig,
  configFile: string | undefined,
): ReadConfigFile | null {
  const after = namedFile(configFile)
  const settingsOf = (file: ReadConfigFile | null): WrittenValues =>
    file === null ? new Map() : valuesOfDocument(file.path, file.root)
  const changed = changedKeys(settingsOf(before.file), settingsOf(after))
  if (changed.length === 0) return after
  const details = { file: after?.path ?? 'the configuration', keys: changed.join(', ') }
  throw configError('CONFIG_NEEDS_RESTART', { param: changed[0], details })
}

function readConfigFile(path: string, source: string): ConfigFile {
  try {
    return { path, text: readAtMost(resolve(path), MAX_FILE_BYTES + 1) }
  } catch (cause) {
    const got = cause instanceof Error ? cause.message : String(cause)
    const details = { file: path, source, got }
    throw configError('CONFIG_FILE_UNREADABLE', { param: source, details, cause })
  }
}

/** No more than what shows that a file is too large, should it be `/dev/zero`. */
function readAtMost(path: string, limit: number): string {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(limit)
    let length = 0
    for (;;) {
      const count = readSync(file, bytes, length, limit - length, null)
      length += count
      if (count === 0 || length === limit) return bytes.toString('utf8', 0, length)
    }
  } finally {
    closeSync(file)
  }
}
