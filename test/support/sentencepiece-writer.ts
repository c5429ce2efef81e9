/** Writes small `tokenizer.model` files of SentencePiece: protobuf by hand, independent of the reader. */

export interface SentencePieceSpec {
  /** Text, score, type; as the smallest useful BPE vocabulary when absent. */
  readonly pieces?: readonly (readonly [text: string, score: number, type?: number])[]
  /** 2 = BPE. */
  readonly modelType?: number
  readonly charsMap?: Buffer
  readonly addsDummyPrefix?: boolean
  readonly removesExtraSpaces?: boolean
  readonly padId?: number
}

const PIECES = [
  ['<unk>', 0, 2],
  ['<s>', 0, 3],
  ['</s>', 0, 3],
  ['▁', -1],
  ['a', -2],
  ['▁a', -1],
  ['▁▁', 0, 4],
] as const

export function encodeSentencePiece(spec: SentencePieceSpec): Buffer {
  const { pieces = PIECES, modelType = 2, charsMap = Buffer.alloc(0), padId = -1 } = spec
  return Buffer.concat([
    ...pieces.map(([text, score, type]) => {
      const value = Buffer.alloc(4)
      value.writeFloatLE(score)
      const fields = [bytes(1, Buffer.from(text)), Buffer.of((2 << 3) | 5), value]
      return bytes(1, Buffer.concat(type === undefined ? fields : [...fields, number(3, type)]))
    }),
    bytes(2, Buffer.concat([number(3, modelType), number(43, padId)])),
    bytes(
      3,
      Buffer.concat([
        bytes(2, charsMap),
        number(3, Number(spec.addsDummyPrefix ?? true)),
        number(4, Number(spec.removesExtraSpaces ?? false)),
      ]),
    ),
    // A field that no reader knows must be passed over.
    Buffer.from([(9 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8]),
  ])
}

function bytes(field: number, content: Buffer): Buffer {
  return Buffer.concat([varint(BigInt((field << 3) | 2)), varint(BigInt(content.length)), content])
}

function number(field: number, value: number): Buffer {
  return Buffer.concat([varint(BigInt(field << 3)), varint(BigInt.asUintN(64, BigInt(value)))])
}

function varint(value: bigint): Buffer {
  const out: number[] = []
  let rest = value
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return Buffer.from([...out, Number(rest)])
}
