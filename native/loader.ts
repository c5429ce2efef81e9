/**
 * Finds the built addon and the libonnxruntime it runs on, and refuses what does not fit, saying what to do.
 *
 * Owns nothing; Node itself keeps one copy of a loaded addon. Reads no environment variable: a path comes from `config`.
 * Works from `native/` under vitest and from `dist/native/` once built, because it looks up from its own place for the
 * folder with `package.json`.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NATIVE_ABI, type NativeBinding } from './binding.ts'
import { nativeError } from './errors.ts'

const require = createRequire(import.meta.url)

/** File name patterns of libonnxruntime in `onnxruntime-node`, by platform. */
const ORT_LIBRARIES: Readonly<Record<string, RegExp>> = {
  linux: /^libonnxruntime\.so\.1$/,
  darwin: /^libonnxruntime\.1\.dylib$/,
  win32: /^onnxruntime\.dll$/,
}

/**
 * Load the addon.
 *
 * @param path - the `.node` file; without it, where `npm run build` puts it
 * @throws ServingError NATIVE_NOT_FOUND with every path tried and why it failed, NATIVE_ABI_MISMATCH
 */
export function loadNative(path?: string): NativeBinding {
  const root = packageRoot()
  const candidates =
    path === undefined
      ? [join(root, 'native', 'ingot.node'), join(root, 'dist', 'native', 'ingot.node')]
      : [path]
  const tried: string[] = []
  for (const candidate of candidates) {
    if (!existsSync(candidate)) {
      tried.push(`${candidate} (no such file)`)
      continue
    }
    const loaded = open(candidate)
    if (loaded.binding !== undefined) return checkAbi(loaded.binding, candidate, root)
    tried.push(`${candidate} (${loaded.reason})`)
  }
  throw nativeError('NATIVE_NOT_FOUND', {
    details: { ...machine(), tried: tried.join('; '), root },
  })
}

/**
 * Path of the libonnxruntime that npm `onnxruntime-node` ships for this machine.
 *
 * @throws ServingError NATIVE_ORT_NOT_FOUND when the package or its file for this platform is absent
 */
export function ortLibraryPath(): string {
  const wanted = ORT_LIBRARIES[process.platform]
  const bin = ortBinFolder()
  const folders =
    bin === undefined
      ? []
      : apiFolders(bin).map((api) => join(bin, api, process.platform, process.arch))
  for (const folder of folders) {
    if (wanted === undefined || !existsSync(folder)) continue
    const name = readdirSync(folder).find((file) => wanted.test(file))
    if (name !== undefined) return join(folder, name)
  }
  const searched =
    folders.length > 0
      ? folders.join(', ')
      : (bin ?? 'node_modules, where the package is not installed')
  const details = {
    ...machine(),
    wanted: wanted?.source ?? 'nothing: the platform is unknown',
    searched,
    root: packageRoot(),
  }
  throw nativeError('NATIVE_ORT_NOT_FOUND', { details })
}

function open(path: string): { binding?: NativeBinding; reason: string } {
  try {
    return { binding: require(path) as NativeBinding, reason: '' }
  } catch (cause) {
    // Not thrown on: the next candidate may load, and NATIVE_NOT_FOUND carries the reason of each.
    return { reason: cause instanceof Error ? cause.message : String(cause) }
  }
}

function checkAbi(binding: NativeBinding, path: string, root: string): NativeBinding {
  const found = typeof binding.capabilities === 'function' ? binding.capabilities().abi : 'none'
  if (found === NATIVE_ABI) return binding
  throw nativeError('NATIVE_ABI_MISMATCH', { details: { path, found, needed: NATIVE_ABI, root } })
}

/** `bin` of the installed package, found through its entry because its `package.json` may not be exported. */
function ortBinFolder(): string | undefined {
  let entry: string
  try {
    entry = require.resolve('onnxruntime-node')
  } catch {
    return undefined // ortLibraryPath turns this into NATIVE_ORT_NOT_FOUND
  }
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'bin'))) return join(folder, 'bin')
  }
  return undefined
}

/** `napi-v6` and whatever follows it, newest first. */
function apiFolders(bin: string): string[] {
  return readdirSync(bin)
    .filter((name) => /^napi-v\d+$/.test(name))
    .sort((a, b) => Number(b.slice(6)) - Number(a.slice(6)))
}

/** The nearest folder above this file whose `package.json` is ours. */
function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url))
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = join(folder, 'package.json')
    if (!existsSync(manifest)) continue
    const { name } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }
    if (name === 'ingot') return folder
  }
  return dirname(start)
}

function machine(): { platform: string; arch: string; node: string } {
  return { platform: process.platform, arch: process.arch, node: process.versions.node }
}
