/**
 * Order of release versions. Knows PEP 440's normal and common spellings; nothing of files or indexes.
 *
 *   1.0.dev1 < 1.0a1.dev1 < 1.0a1 < 1.0b1 < 1.0rc1 < 1.0 < 1.0.post1      epoch first: 1!0.1 > 2.0
 */

export interface ReleaseVersion {
  readonly isPreRelease: boolean
  /** Compared entry by entry; missing ones count as 0. */
  readonly order: readonly number[]
}

const PATTERN =
  /^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d*))?(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?$/i

const MAX_RELEASE_PARTS = 8

/** Phases within one release number. */
const DEV = -4
const FINAL = 0
const PHASES: Readonly<Record<string, number>> = {
  alpha: -3,
  a: -3,
  beta: -2,
  b: -2,
  preview: -1,
  pre: -1,
  c: -1,
  rc: -1,
}

/** Parse a version, or `undefined` when it is none. */
export function parseReleaseVersion(text: string): ReleaseVersion | undefined {
  const match = PATTERN.exec(text.trim())
  if (match === null) return undefined
  const [
    ,
    epoch = '0',
    release = '',
    pre,
    preNumber = '',
    bare,
    post,
    postNumber = '',
    dev,
    devNumber = '',
  ] = match
  const parts = release.split('.').map(Number)
  if (parts.length > MAX_RELEASE_PARTS) return undefined
  while (parts.length < MAX_RELEASE_PARTS) parts.push(0)
  const isPost = bare !== undefined || post !== undefined
  const prePhase = pre === undefined ? undefined : (PHASES[pre.toLowerCase()] as number)
  // A bare dev release comes before every pre-release of the same number.
  const phase = prePhase ?? (dev !== undefined && !isPost ? DEV : FINAL)
  const order = [
    Number(epoch),
    ...parts,
    phase,
    Number(preNumber),
    isPost ? 1 + Number(bare ?? postNumber) : 0,
    dev === undefined ? 1 : 0,
    Number(devNumber),
  ]
  return { isPreRelease: pre !== undefined || dev !== undefined, order }
}

/** Negative when `a` is older. */
export function compareVersions(a: ReleaseVersion, b: ReleaseVersion): number {
  for (let i = 0; i < a.order.length; i++) {
    const difference = (a.order[i] as number) - (b.order[i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/** Whether two spellings name the same release (`1.0` and `1.0.0`). */
export function isSameVersion(a: string, b: string): boolean {
  const [left, right] = [parseReleaseVersion(a), parseReleaseVersion(b)]
  if (left === undefined || right === undefined) return a === b
  return compareVersions(left, right) === 0
}
