/** A protobuf reader written apart from the writer, so that the two check each other. Knows wire types only. */

export interface ProtobufField {
  readonly field: number
  /** Of a varint. */
  readonly integer?: number
  /** Of a fixed 32-bit field. */
  readonly float?: number
  readonly bytes?: Buffer
}

export function readProtobuf(bytes: Uint8Array): ProtobufField[] {
  const buffer = Buffer.from(bytes)
  const fields: ProtobufField[] = []
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = buffer.readUInt8(at++)
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return Number(value)
    }
  }
  while (at < buffer.length) {
    const key = varint()
    const field = key >> 3
    const wireType = key & 7
    if (wireType === 0) fields.push({ field, integer: varint() })
    else if (wireType === 5) {
      fields.push({ field, float: buffer.readFloatLE(at) })
      at += 4
    } else if (wireType === 2) {
      const length = varint()
      if (at + length > buffer.length) throw new Error(`field ${field} is longer than its message`)
      fields.push({ field, bytes: buffer.subarray(at, at + length) })
      at += length
    } else throw new Error(`wire type ${wireType}`)
  }
  return fields
}

/** Embedded messages of one field. */
export function messages(fields: readonly ProtobufField[], field: number): ProtobufField[][] {
  return fields.filter((f) => f.field === field).map((f) => readProtobuf(f.bytes!))
}

export function texts(fields: readonly ProtobufField[], field: number): string[] {
  return fields.filter((f) => f.field === field).map((f) => f.bytes!.toString('utf8'))
}
