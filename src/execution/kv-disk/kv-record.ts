/**
 * One file of the cache as bytes:
 *
 *   [ 0, 32)   SHA-256 of everything behind it
 *   [32, 40)   "INGOTKV1"
 *   [40, 48)   bytes of the block, little-endian
 *   [48, 80)   the block's name
 *   [80, 96)   zeros
 *   [96, …)    the block
 *
 * A file that was torn, changed or renamed does not match its sum or its name. Hashing happens off the thread.
 */

export const HEADER_BYTES = 96
const SUM_BYTES = 32
const NAME_AT = 48
const MAGIC = Buffer.from('INGOTKV1', 'latin1')

/** An empty record; `blockOf` is where its block goes. */
export function newRecord(blockBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(HEADER_BYTES + blockBytes)
}

export function blockOf(record: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return record.subarray(HEADER_BYTES)
}

/** The whole record of a block that `blockOf` gave. */
export function recordOf(block: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(block.buffer as ArrayBuffer)
}

/** Fill the header for what lies in the block. */
export async function sealRecord(record: Uint8Array<ArrayBuffer>, name: Buffer): Promise<void> {
  record.set(headerOf(record, name), SUM_BYTES)
  record.set(await sumOf(record))
}

/** Whether it is what was sealed under this name. */
export async function isWhole(record: Uint8Array<ArrayBuffer>, name: Buffer): Promise<boolean> {
  const header = headerOf(record, name)
  if (!header.equals(record.subarray(SUM_BYTES, HEADER_BYTES))) return false
  const sum = await sumOf(record)
  return Buffer.from(sum).equals(record.subarray(0, SUM_BYTES))
}

function headerOf(record: Uint8Array, name: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES - SUM_BYTES)
  MAGIC.copy(header)
  header.writeBigUInt64LE(BigInt(record.length - HEADER_BYTES), MAGIC.length)
  name.copy(header, NAME_AT - SUM_BYTES)
  return header
}

async function sumOf(record: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', record.subarray(SUM_BYTES)))
}
