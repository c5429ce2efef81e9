/** What a quantized weight is made of, in the words of the native addon: as `StoredQuantization`, absent for `null`. */

import type {
  NativeFields,
  NativeNumbers,
  NativeQuantization,
  NativeScales,
} from '../../native/binding.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'

type Quantization = NonNullable<TensorInfo['quantization']>

export function nativeQuantization(quantization: Quantization): NativeQuantization {
  const { codes, values, zeros, table, scales, group, groupOfInput } = quantization
  return {
    codes: fields(codes),
    values,
    ...(zeros === null ? {} : { zeros: fields(zeros), zeroNumbers: numbers(zeros.tensor) }),
    ...(table === null ? {} : { table: numbers(table) }),
    scales: nativeScales(scales),
    group,
    ...(groupOfInput === null ? {} : { groupOfInput: numbers(groupOfInput) }),
  }
}

function fields({ bits, packing, order, isOutputFirst, isSigned, added }: Quantization['codes']) {
  return { bits, packing, order, isOutputFirst, isSigned, added } satisfies NativeFields
}

function nativeScales({ tensor, nested, ...plain }: Quantization['scales']): NativeScales {
  return {
    ...plain,
    ...(tensor === null ? {} : { numbers: numbers(tensor) }),
    ...(nested === null
      ? {}
      : {
          nestedTable: numbers(nested.table),
          nestedScales: numbers(nested.scales),
          nestedBlock: nested.block,
          nestedOffset: nested.offset,
        }),
  }
}

function numbers(tensor: NonNullable<Quantization['table']>): NativeNumbers {
  const { file, offset, byteLength, dtype } = tensor
  return { file, offset, byteLength, dtype }
}
