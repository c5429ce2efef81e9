/**
 * Names of a GGUF model in several files: `NAME-00002-of-00005.gguf`, counted from 1, five digits. Owns nothing; looks at
 * no disk. Source: llama.cpp, `llama_split_path`.
 */

export interface SplitName {
  /** Of this file, 1 … count. */
  readonly number: number
  /** At least 2. */
  readonly count: number
  /** All paths in order, this one's among them. */
  readonly paths: readonly string[]
}

/** More than any published model has, few enough to open at once. */
const MAX_COUNT = 1_000

/** `undefined` for a path or URL that is not named as a part. */
export function splitName(path: string): SplitName | undefined {
  const match = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s.exec(path)
  if (match === null) return undefined
  const [, stem = '', number = '', count = ''] = match
  const isPart = Number(number) >= 1 && Number(number) <= Number(count)
  if (!isPart || Number(count) < 2 || Number(count) > MAX_COUNT) return undefined
  const paths = Array.from(
    { length: Number(count) },
    (_, index) => `${stem}-${String(index + 1).padStart(5, '0')}-of-${count}.gguf`,
  )
  return { number: Number(number), count: Number(count), paths }
}
