/**
 * The door of this room: looks at what lies at a path and hands it to the reader of that kind.
 *
 * Owns the table of readers; decides by content, never by a file's name. Knows no format's inside beyond its first
 * bytes. A new kind is one more entry in `readers`.
 */

import { open, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ServingError } from '../base/errors.ts'
import { splitName } from '../base/split-name.ts'
import type { Checkpoint, OpenedCheckpoint } from './checkpoint.ts'
import { checkpointError, readFailure } from './errors.ts'
import { readGguf } from './gguf/gguf-reader.ts'
import { GGUF_MAGIC } from './gguf/header.ts'
import type { MetadataOptions } from './gguf/metadata.ts'
import { listGraphs } from './onnx/choose-graph.ts'
import { GENAI_CONFIG, readOnnxFile, readOnnxFolder } from './onnx/onnx-reader.ts'
import { exists } from './safetensors/read-file.ts'
import {
  CONFIG_FILE,
  hasSafetensors,
  readSafetensorsFile,
  readSafetensorsFolder,
} from './safetensors/safetensors-reader.ts'

const PROBE_BYTES = 16
/** Producer's name and version, domain, version, text, graph, opset: tags of a `ModelProto`'s fields. */
const MODEL_TAGS = new Set([0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72])

/** What can be seen of a path without trusting it. */
interface CheckpointProbe {
  readonly isFolder: boolean
  /** At most 16 bytes; fewer when the file is shorter; none for a folder. */
  readonly firstBytes: Buffer
  /** Whether `config.json` lies in the folder, or beside the file. */
  readonly hasConfig: boolean
  /** Of a folder: whether ONNX graphs lie in it, and neither safetensors weights, which go before them. */
  readonly isExported: boolean
  /** Of a folder without configuration: its one GGUF model. */
  readonly ggufFile: string | undefined
}

interface CheckpointReader {
  readonly kind: OpenedCheckpoint['kind']
  /** For people, in the list of what is supported. */
  readonly label: string
  matches(probe: CheckpointProbe): boolean
  read(path: string, options: MetadataOptions): Promise<OpenedCheckpoint>
}

const readers: readonly CheckpointReader[] = [
  {
    kind: 'gguf',
    label: 'a GGUF file (version 2 or 3)',
    matches: ({ firstBytes }) =>
      firstBytes.length >= 4 && firstBytes.readUInt32LE(0) === GGUF_MAGIC,
    read: readGguf,
  },
  {
    kind: 'gguf',
    label: 'a folder with one GGUF model',
    matches: ({ ggufFile }) => ggufFile !== undefined,
    read: async (path, options) => readGguf((await oneGgufIn(path)) ?? path, options),
  },
  {
    kind: 'onnx',
    label: 'a folder with config.json or genai_config.json and an ONNX decoder',
    matches: ({ isExported }) => isExported,
    read: readOnnxFolder,
  },
  {
    kind: 'onnx',
    label: 'an ONNX decoder with config.json or genai_config.json beside it',
    matches: ({ firstBytes }) => looksLikeOnnx(firstBytes),
    read: readOnnxFile,
  },
  {
    kind: 'safetensors',
    label: 'a Hugging Face folder with config.json',
    matches: ({ isFolder, hasConfig }) => isFolder && hasConfig,
    read: readSafetensorsFolder,
  },
  {
    kind: 'safetensors',
    label: 'a safetensors file with config.json beside it',
    matches: ({ firstBytes, hasConfig }) => looksLikeSafetensors(firstBytes) && hasConfig,
    read: readSafetensorsFile,
  },
]

/**
 * Open the checkpoint at `path`: read its metadata and its tensor index, check both against the files.
 *
 * @throws ServingError CHECKPOINT_NOT_FOUND, CHECKPOINT_UNREADABLE, CHECKPOINT_UNSUPPORTED_KIND, or the reader's own
 *
 * Cost: reads headers only; no tensor byte is touched.
 */
export async function openCheckpoint(
  path: string,
  options: MetadataOptions = {},
): Promise<OpenedCheckpoint> {
  const probe = await probePath(path)
  const reader = readers.find((candidate) => candidate.matches(probe))
  if (reader !== undefined) return reader.read(path, options)
  const supported = readers.map(({ label }) => label).join(', ')
  throw unsupportedKind(path, supported, describeProbe(probe))
}

/**
 * The same for whoever needs tensors: an exported graph is refused.
 *
 * @throws ServingError CHECKPOINT_UNSUPPORTED_KIND, and those of `openCheckpoint`
 */
export async function openTensorCheckpoint(path: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(path)
  if (checkpoint.kind !== 'onnx') return checkpoint
  throw unsupportedKind(path, 'a GGUF file, a Hugging Face folder', 'an exported ONNX decoder')
}

async function probePath(path: string): Promise<CheckpointProbe> {
  try {
    const stats = await stat(path)
    if (stats.isDirectory()) {
      const hasConfig = await exists(join(path, CONFIG_FILE))
      const isDescribed = hasConfig || (await exists(join(path, GENAI_CONFIG)))
      const isExported =
        isDescribed && !(await hasSafetensors(path)) && (await listGraphs(path)).length > 0
      const ggufFile = isDescribed ? undefined : await oneGgufIn(path)
      return { isFolder: true, firstBytes: Buffer.alloc(0), hasConfig, isExported, ggufFile }
    }
    // A pipe or a device could block for ever or never end.
    if (!stats.isFile()) throw unsupportedKind(path, 'a regular file', 'a device, pipe or socket')
    const handle = await open(path, 'r')
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(PROBE_BYTES), 0, PROBE_BYTES, 0)
      const hasConfig = await exists(join(dirname(path), CONFIG_FILE))
      const firstBytes = buffer.subarray(0, bytesRead)
      return { isFolder: false, firstBytes, hasConfig, isExported: false, ggufFile: undefined }
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if (cause instanceof ServingError) throw cause
    throw readFailure(path, 0, cause)
  }
}

/** A file alone, or the first of parts that all belong together. */
async function oneGgufIn(folder: string): Promise<string | undefined> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.gguf')).sort()
  const first = names[0]
  if (first === undefined) return undefined
  const whole = splitName(first)?.paths ?? [first]
  return names.every((name) => whole.includes(name)) ? join(folder, first) : undefined
}

function describeProbe({ isFolder, firstBytes }: CheckpointProbe): string {
  if (isFolder) return `a folder without ${CONFIG_FILE}`
  if (firstBytes.length === 0) return 'an empty file'
  if (looksLikeSafetensors(firstBytes)) return `a safetensors file without ${CONFIG_FILE} beside it`
  const hex = firstBytes.subarray(0, 4).toString('hex').replace(/..\B/g, '$& ')
  return `a file that begins with ${hex}`
}

/** A safetensors file begins with the 64-bit length of a JSON object and its opening brace. */
function looksLikeSafetensors(firstBytes: Buffer): boolean {
  return firstBytes.length > 8 && firstBytes.readUInt32LE(4) === 0 && firstBytes[8] === 0x7b
}

/** A `ModelProto` begins with its IR version, a small number, and another field of its own. Source: onnx.proto3. */
function looksLikeOnnx(firstBytes: Buffer): boolean {
  const [tag, version, next] = firstBytes
  if (tag !== 0x08 || version === undefined || next === undefined) return false
  return version >= 3 && version <= 32 && MODEL_TAGS.has(next)
}

function unsupportedKind(file: string, expected: string, got: string): Error {
  const next = 'give a file of a supported kind, or convert the model'
  return checkpointError('CHECKPOINT_UNSUPPORTED_KIND', { details: { file, expected, got, next } })
}
