/**
 * The stored tensors of a checkpoint by name, and which of them a scheme has used. Checks dtype and shape of each that
 * is taken; a scheme never looks at a tensor in another way.
 *
 * C1 A tensor belongs to one weight: what was taken is not left over, and what is left over was not taken.
 */

import type { ServingError } from '../../base/errors.ts'
import { checkpointError } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'
import type { StoredTensor } from './stored-quantization.ts'

export interface Wanted {
  readonly dtypes: readonly string[]
  /** Any of them; `null` stands for any extent. */
  readonly shapes: readonly (readonly (number | null)[])[]
}

export class Companions {
  readonly #tensors: ReadonlyMap<string, StoredTensor>
  readonly #taken = new Set<string>()

  constructor(tensors: ReadonlyMap<string, StoredTensor>) {
    this.#tensors = tensors
  }

  has(name: string): boolean {
    return this.#tensors.has(name)
  }

  dtypeOf(name: string): string | undefined {
    return this.#tensors.get(name)?.dtype
  }

  /** @param beside - whose companion it is, for the file in the error when it is missing */
  take(name: string, beside: StoredTensor, wanted: Wanted): StoredTensor {
    const tensor = this.optional(name, wanted)
    if (tensor !== undefined) return tensor
    throw this.#refusal(beside.file, name, wanted, 'none of that name')
  }

  optional(name: string, wanted: Wanted): StoredTensor | undefined {
    const tensor = this.#tensors.get(name)
    if (tensor === undefined) return undefined
    this.#taken.add(name)
    const { dtype, shape } = tensor
    const isShape = wanted.shapes.some(
      (expected) =>
        expected.length === shape.length &&
        shape.every(
          (extent, axis) => extent > 0 && [null, extent].includes(expected[axis] ?? null),
        ),
    )
    if (isShape && wanted.dtypes.includes(dtype)) return tensor
    throw this.#refusal(tensor.file, name, wanted, `${dtype} ${shapeText(shape)}`)
  }

  isTaken(name: string): boolean {
    return this.#taken.has(name)
  }

  #refusal(file: string, name: string, { dtypes, shapes }: Wanted, got: string): ServingError {
    const expected = `${dtypes.join(' or ')} ${shapes.map(shapeText).join(' or ')}`
    return quantizedTensorError(file, name, expected, got)
  }
}

export function quantizedTensorError(
  file: string,
  name: string,
  expected: string,
  got: string,
): ServingError {
  return checkpointError('CHECKPOINT_QUANTIZED_TENSOR', {
    details: { file, tensor: quote(name), expected, got },
  })
}

function shapeText(shape: readonly (number | null)[]): string {
  return `[${shape.map((extent) => extent ?? 'n').join(', ')}]`
}
