/**
 * What a quantized weight is made of, whatever the scheme: plain data that the schemes of this folder write and the
 * native addon reads. A weight [n][k] is value(code[n][k]) · scale[n][group(k)], rounded once to f32, where value is
 *   integers  code − zero[n][group(k)]; without zeros, code − 2^(bits − 1)
 *   float8    the number that an E4M3 byte means
 *   table     table[code], 16 numbers of f32
 */

/** A stored tensor of any dtype. `offset + byteLength` has been checked against the file's size. */
export interface StoredTensor {
  readonly name: string
  /** safetensors' word, such as `I32`. */
  readonly dtype: string
  readonly shape: readonly number[]
  readonly file: string
  readonly offset: number
  readonly byteLength: number
}

/** A matrix of small integers, packed. */
export interface StoredFields {
  readonly tensor: StoredTensor
  readonly bits: number
  /** A stream of bits along each stored row, or down each column through words of 32 bits; lowest bits first. */
  readonly packing: 'rows' | 'columns'
  /** `awq`: of each eight, 0 2 4 6 1 3 5 7. `high-first`: of each two. */
  readonly order: 'ascending' | 'awq' | 'high-first'
  /** Whether the matrix' rows are outputs; else they are inputs or groups, and its columns are outputs. */
  readonly isOutputFirst: boolean
  readonly isSigned: boolean
  /** Added to what is stored, modulo 2^bits. */
  readonly added: number
}

export interface StoredScales {
  /** `null` = all are 1. */
  readonly tensor: StoredTensor | null
  /** `grid`: a matrix of outputs and groups. `flat`: one for each `block` weights of the matrix read as one row. */
  readonly layout: 'grid' | 'flat'
  readonly isOutputFirst: boolean
  /** Of the stored matrix of a grid. */
  readonly columns: number
  /** Outputs that share a row of the grid. */
  readonly rowsPerScale: number
  /** Each is divided by it. */
  readonly divisor: number
  readonly block: number
  /** The tensor's bytes are places in `table`, times a scale of a `block` of them, plus `offset`. */
  readonly nested: {
    readonly table: StoredTensor
    readonly scales: StoredTensor
    readonly block: number
    readonly offset: number
  } | null
}

export interface StoredQuantization {
  readonly codes: StoredFields
  readonly values: 'integers' | 'float8' | 'table'
  readonly zeros: StoredFields | null
  readonly table: StoredTensor | null
  readonly scales: StoredScales
  /** Inputs that share a scale: input i is in group i / group, unless `groupOfInput` (I32 [k]) says otherwise. */
  readonly group: number
  readonly groupOfInput: StoredTensor | null
}

export const PLAIN_FIELDS: Omit<StoredFields, 'tensor' | 'bits'> = {
  packing: 'rows',
  order: 'ascending',
  isOutputFirst: true,
  isSigned: false,
  added: 0,
}

/** A grid whose rows are outputs, one for each. @param columns - groups */
export function gridScales(
  tensor: StoredTensor | null,
  columns: number,
  change: Partial<StoredScales> = {},
): StoredScales {
  const plain = { layout: 'grid', isOutputFirst: true, rowsPerScale: 1, divisor: 1 } as const
  return { tensor, columns, ...plain, block: 0, nested: null, ...change }
}
