/**
 * The weights that a graph's nodes name, each once. Owns the table while a graph is built; reads no tensor's bytes.
 *
 * W1 A weight's name says which stored tensors it is made of, in order, so equal names are equal weights.
 * W2 The members of a family are alike and numbered from 0.
 */

import { invariant } from '../base/errors.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import { graphError } from './errors.ts'
import type { GraphWeight, MatrixLayout } from './graph.ts'

export interface MatrixWeight {
  readonly name: string
  readonly rows: number
  readonly width: number
}

export interface VectorWeight {
  readonly name: string
  readonly width: number
}

export class GraphWeights {
  readonly #weights = new Map<string, GraphWeight>()
  readonly #constants = new Map<Float32Array, string>()

  /** Matrices of equally many inputs, one below the other. Those stored in columns have a name of their own. */
  linear(tensors: readonly TensorInfo[], layout: MatrixLayout = 'rows'): MatrixWeight {
    const isTurned = layout === 'columns'
    const name = `${nameOf(tensors)}${isTurned ? '^T' : ''}`
    const [outs, ins] = isTurned ? [1, 0] : [0, 1]
    const width = tensors[0]?.shape[ins] ?? 0
    let rows = 0
    for (const tensor of tensors) {
      expectRank(tensor, 2)
      invariant(tensor.shape[ins] === width, 'W1', `the parts of ${name} are not equally wide`)
      rows += tensor.shape[outs] ?? 0
    }
    this.#put({ name, kind: 'linear', tensors, ...(isTurned ? { layout } : {}) })
    return { name, rows, width }
  }

  /**
   * One weight for each member of a family (experts, heads). Their names differ in the members' numbers alone; the
   * family's has `{}` in their place.
   */
  family(members: readonly (readonly TensorInfo[])[], layout: MatrixLayout = 'rows'): MatrixWeight {
    const weights = members.map((tensors) => this.linear(tensors, layout))
    const [first] = weights
    invariant(first !== undefined, 'W2', 'a family has a member')
    const isAlike = weights.every(({ rows, width }) => rows === first.rows && width === first.width)
    invariant(isAlike, 'W2', `the members of ${first.name} are of one shape`)
    return { ...first, name: familyName(weights.map(({ name }) => name)) }
  }

  /** As `family`, of vectors. */
  vectorFamily(members: readonly (readonly TensorInfo[])[]): VectorWeight {
    const weights = members.map((tensors) => this.vector(tensors))
    const [first] = weights
    invariant(first !== undefined, 'W2', 'a family has a member')
    const isAlike = weights.every(({ width }) => width === first.width)
    invariant(isAlike, 'W2', `the members of ${first.name} are of one length`)
    return { ...first, name: familyName(weights.map(({ name }) => name)) }
  }

  /** Vectors, one after the other. */
  vector(tensors: readonly TensorInfo[]): VectorWeight {
    const name = nameOf(tensors)
    let width = 0
    for (const tensor of tensors) {
      expectRank(tensor, 1)
      width += tensor.shape[0] ?? 0
    }
    this.#put({ name, kind: 'vector', tensors })
    return { name, width }
  }

  /** Values that the model computed; one array is one weight. Returns its name. */
  constant(stem: string, values: Float32Array): string {
    const known = this.#constants.get(values)
    if (known !== undefined) return known
    const name = `${stem}.${this.#constants.size}`
    this.#constants.set(values, name)
    this.#put({ name, kind: 'constant', values })
    return name
  }

  all(): readonly GraphWeight[] {
    return [...this.#weights.values()]
  }

  #put(weight: GraphWeight): void {
    const known = this.#weights.get(weight.name)
    invariant(
      known === undefined || known.kind === weight.kind,
      'W1',
      `${weight.name} is used both as a matrix and as a vector`,
    )
    if (known === undefined) this.#weights.set(weight.name, weight)
  }
}

function nameOf(tensors: readonly TensorInfo[]): string {
  invariant(tensors.length > 0, 'W1', 'a weight is made of at least one tensor')
  return tensors.map(({ name }) => name).join('+')
}

const NUMBER = /\d+/g

/** The name that all have but for their number. */
function familyName(names: readonly string[]): string {
  const [first = '', second = first] = names
  const others = second.match(NUMBER) ?? []
  let place = -1
  const pattern = first.replace(NUMBER, (number) => {
    place += 1
    return others[place] === number ? number : '{}'
  })
  for (const [index, name] of names.entries()) {
    const expected = pattern.replaceAll('{}', String(index))
    invariant(name === expected, 'W2', `member ${index} is named ${expected}, not ${name}`)
  }
  return pattern
}

function expectRank(tensor: TensorInfo, rank: number): void {
  if (tensor.shape.length === rank) return
  const expected = rank === 1 ? '[n]' : '[n, k]'
  const got = `[${tensor.shape.join(', ')}]`
  throw graphError('GRAPH_SHAPE_MISMATCH', {
    details: { node: 'weights', what: tensor.name, expected, got },
  })
}
