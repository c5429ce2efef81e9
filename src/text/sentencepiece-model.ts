/**
 * Reads SentencePiece's own file, `tokenizer.model`: a protobuf message with pieces, how it was trained, and how it
 * normalises. Owns nothing; knows only the fields that decide ids.
 *
 * I1 lengths are checked against the bytes behind them before anything is made of them; wire types are what they must be.
 * Source: google/sentencepiece, `src/sentencepiece_model.proto`.
 */

import { badJson } from './hf-json.ts'

export interface SentencePieceModel {
  readonly tokens: readonly string[]
  readonly scores: Float32Array
  /** The numbers of `tokenizer.ggml.token_type`, which are the same. */
  readonly types: readonly number[]
  /** `1` Unigram, `2` BPE, `3` words, `4` characters. */
  readonly modelType: number
  /** −1 = none. */
  readonly unknownId: number
  readonly beginId: number
  readonly endId: number
  readonly padId: number
  /** Empty when text is taken as it is. */
  readonly charsMapBytes: number
  readonly addsDummyPrefix: boolean
  readonly removesExtraSpaces: boolean
  readonly escapesSpaces: boolean
}

/** Of any known vocabulary; far below what would fill memory. */
const MAX_PIECES = 4_000_000

/** A field's number and what it holds: a varint, four or eight bytes as they are, or a run of bytes. */
interface Field {
  readonly number: number
  readonly varint: bigint
  readonly bytes: Buffer
}

/** @throws ServingError TEXT_BAD_TOKENIZER */
export function readSentencePieceModel(file: Buffer): SentencePieceModel {
  const tokens: string[] = []
  const scores: number[] = []
  const types: number[] = []
  let trainer: ReadonlyMap<number, Field> = new Map()
  let normalizer: ReadonlyMap<number, Field> = new Map()
  for (const { number, bytes } of fieldsOf(file)) {
    if (number === 1) {
      const piece = lastOfEach(bytes)
      tokens.push(piece.get(1)?.bytes.toString('utf8') ?? '')
      scores.push(floatOf(piece.get(2)))
      types.push(intOf(piece.get(3), 1))
      if (tokens.length > MAX_PIECES) throw bad(`at most ${MAX_PIECES} pieces`, 'more')
    }
    if (number === 2) trainer = lastOfEach(bytes)
    if (number === 3) normalizer = lastOfEach(bytes)
  }
  return {
    tokens,
    scores: Float32Array.from(scores),
    types,
    modelType: intOf(trainer.get(3), 1),
    unknownId: intOf(trainer.get(40), 0),
    beginId: intOf(trainer.get(41), 1),
    endId: intOf(trainer.get(42), 2),
    padId: intOf(trainer.get(43), -1),
    charsMapBytes: normalizer.get(2)?.bytes.length ?? 0,
    addsDummyPrefix: intOf(normalizer.get(3), 1) !== 0,
    removesExtraSpaces: intOf(normalizer.get(4), 1) !== 0,
    escapesSpaces: intOf(normalizer.get(5), 1) !== 0,
  }
}

function lastOfEach(message: Buffer): ReadonlyMap<number, Field> {
  return new Map([...fieldsOf(message)].map((field) => [field.number, field]))
}

function* fieldsOf(message: Buffer): Generator<Field> {
  let position = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[position++]
      if (byte === undefined) break
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw bad('a protobuf number', `bytes that are none at ${position} of ${message.length}`)
  }
  const take = (length: number): Buffer => {
    if (length > message.length - position) {
      throw bad(`${length} bytes at ${position}`, `${message.length - position}`)
    }
    position += length
    return message.subarray(position - length, position)
  }
  const none = Buffer.alloc(0)
  while (position < message.length) {
    const tag = varint()
    const number = Number(tag >> 3n)
    switch (Number(tag & 7n)) {
      case 0:
        yield { number, varint: varint(), bytes: none }
        break
      case 1:
        yield { number, varint: 0n, bytes: take(8) }
        break
      case 2:
        yield { number, varint: 0n, bytes: take(Number(varint())) }
        break
      case 5:
        yield { number, varint: 0n, bytes: take(4) }
        break
      default:
        throw bad('a protobuf wire type', `${tag & 7n} at ${position}`)
    }
  }
}

function floatOf(field: Field | undefined): number {
  return field?.bytes.length === 4 ? field.bytes.readFloatLE(0) : 0
}

/** A 32-bit number, written as 64 bits where it is negative. */
function intOf(field: Field | undefined, absent: number): number {
  return field === undefined ? absent : Number(BigInt.asIntN(32, field.varint))
}

function bad(expected: string, got: string): Error {
  return badJson('tokenizer.model', expected, got)
}
