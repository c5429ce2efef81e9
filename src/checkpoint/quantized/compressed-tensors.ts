/**
 * compressed-tensors, as LLM Compressor writes it: which group of the configuration a module belongs to, and what that
 * group says of its weights. How they are stored: `compressed-weights.ts`.
 *
 * Activations: where the configuration quantizes them too (8 bits), weights are the same; what activations are computed
 * in is Ingot's own setting (`--activations`), whose int8 has a scale for each 32 numbers instead of each token.
 * Source: compressed-tensors 0.20.1, `quantization/quant_config.py`, `quant_scheme.py`, `quant_args.py`.
 */

import { type CompressedGroup, compressedWeight } from './compressed-weights.ts'
import type { Members } from './members.ts'
import { type ModulePattern, modulePattern } from './module-pattern.ts'
import { moduleOf, type Scheme } from './scheme.ts'

const FORMATS = ['pack-quantized', 'int-quantized', 'float-quantized', 'naive-quantized'] as const
export type CompressedFormat = (typeof FORMATS)[number]

/** How parameters were found, and what they were computed in. */
const NOT_OF_WEIGHTS: readonly string[] = [
  'actorder',
  'observer',
  'observer_kwargs',
  'scale_dtype',
  'zp_dtype',
]

interface Target {
  /** 0 a name, 1 a pattern, 2 a class: the lower goes before. */
  readonly rank: number
  readonly matches: ModulePattern
}

interface TargetedGroup extends CompressedGroup {
  readonly targets: readonly Target[]
}

export function readCompressedTensors(members: Members): Scheme {
  const format = members.choice('format', [...FORMATS, 'mixed-precision', 'dense'])
  if (format === 'dense') throw members.refusal('format', format, FORMATS.join(' or '))
  members.choice('quantization_status', ['compressed'], 'compressed')
  members.neutral('kv_cache_scheme')
  members.neutral('moe_sparsity_config')
  const sparsity = members.child('sparsity_config')
  sparsity?.choice('format', ['dense'], 'dense')
  const transforms = members.child('transform_config')
  transforms?.neutral('config_groups')
  const ignored = members.texts('ignore').map((text) => targetOf(text, members, 'ignore'))
  const groups = readGroups(members, format === 'mixed-precision' ? null : format)
  members.refuseOthers(['global_compression_ratio', 'quant_method', 'version'])
  return {
    description: `compressed-tensors: ${groups.map(describe).join('; ')}`,
    weightOf(tensor, companions, read) {
      const packed = moduleOf(tensor.name, '.weight_packed')
      const module = packed ?? moduleOf(tensor.name, '.weight')
      if (module === null) return null
      if (packed === null && !companions.has(`${module}.weight_scale`)) return null
      // Beside a packed weight there is none, and a dense one has no scale: this is the weight of a quantized module.
      const isIgnored = ignored.some(({ matches }) => matches(module))
      if (isIgnored) throw members.refusal('ignore', module, `no ${tensor.name} with a scale`)
      const group = groupOf(module, groups)
      if (group === undefined) {
        throw members.refusal('config_groups', `none for ${module}`, 'a group that targets it')
      }
      return compressedWeight(module, group, tensor, companions, read)
    },
  }
}

function readGroups(members: Members, format: CompressedFormat | null): readonly TargetedGroup[] {
  const all = members.child('config_groups')
  const groups: TargetedGroup[] = []
  for (const name of all?.keys() ?? []) {
    const group = all?.child(name)
    if (!group) continue
    const targets = group.texts('targets').map((text) => targetOf(text, group, 'targets'))
    const ownFormat =
      group.value('format') === undefined && format !== null
        ? format
        : group.choice('format', FORMATS)
    group.neutral('output_activations')
    const activations = group.child('input_activations')
    if (activations !== null) readActivations(activations)
    const weights = group.child('weights')
    if (weights === null) throw group.refusal('weights', undefined, 'an object')
    groups.push({ ...readWeights(weights, ownFormat), targets })
    group.refuseOthers([])
  }
  if (groups.length === 0) throw members.refusal('config_groups', undefined, 'groups of modules')
  return groups
}

/** Read so that nothing unknown passes; 8 bits of them lose less here than they do there. */
function readActivations(members: Members): void {
  members.integer('num_bits', 8, 8, 8)
  members.choice('type', ['int', 'float'], 'int')
  members.flag('symmetric', true)
  members.choice('strategy', ['token', 'tensor', 'group'], 'tensor')
  members.flag('dynamic', false)
  members.refuseOthers([...NOT_OF_WEIGHTS, 'block_structure', 'group_size'])
}

function readWeights(members: Members, format: CompressedFormat): CompressedGroup {
  const isFloat = members.choice('type', ['int', 'float'], 'int') === 'float'
  const bits = isFloat ? members.integer('num_bits', 8, 8, 8) : members.integer('num_bits', 2, 8, 8)
  const isSymmetric = members.flag('symmetric', true)
  if (isFloat && !isSymmetric) throw members.refusal('symmetric', false, 'true')
  if (isFloat && format === 'pack-quantized') throw members.refusal('type', 'float', 'int')
  if (members.flag('dynamic', false)) throw members.refusal('dynamic', true, 'false')
  const groupSize = members.integer('group_size', -1, 1 << 20, -1)
  const strategy = members.choice(
    'strategy',
    ['tensor', 'channel', 'group', 'block'],
    groupSize > 0 ? 'group' : 'tensor',
  )
  const block = readBlock(members)
  if (strategy === 'group' && groupSize < 1) {
    throw members.refusal('group_size', groupSize, 'above 0')
  }
  if (strategy === 'block' && block === null) {
    throw members.refusal('block_structure', undefined, 'two whole numbers')
  }
  members.refuseOthers(NOT_OF_WEIGHTS)
  return { format, bits, isFloat, isSymmetric, strategy, groupSize, block }
}

function readBlock(members: Members): readonly [rows: number, columns: number] | null {
  const value = members.value('block_structure')
  if (value === undefined) return null
  const list = typeof value === 'string' ? value.split('x').map(Number) : value
  const isExtent = (extent: unknown): extent is number =>
    Number.isInteger(extent) && (extent as number) > 0 && (extent as number) <= 1 << 20
  if (!Array.isArray(list) || list.length !== 2 || !list.every(isExtent)) {
    throw members.refusal('block_structure', value, 'two whole numbers')
  }
  return [list[0] as number, list[1] as number]
}

function targetOf(text: string, members: Members, key: string): Target {
  if (text.startsWith('re:')) {
    const matches = modulePattern(text.slice(3))
    if (matches === undefined) throw members.refusal(key, text, 'a plain regular expression')
    return { rank: 1, matches }
  }
  if (text === 'Linear') return { rank: 2, matches: (module) => !isEmbedding(module) }
  if (text === 'Embedding') return { rank: 2, matches: isEmbedding }
  return { rank: 0, matches: (module) => module === text }
}

function isEmbedding(module: string): boolean {
  return module.endsWith('embed_tokens')
}

function groupOf(module: string, groups: readonly TargetedGroup[]): TargetedGroup | undefined {
  const ranked = [0, 1, 2].flatMap((rank) =>
    groups.filter(({ targets }) =>
      targets.some((target) => target.rank === rank && target.matches(module)),
    ),
  )
  return ranked[0]
}

function describe({ format, bits, isFloat, strategy, groupSize, block }: CompressedGroup): string {
  const kind = isFloat ? 'fp8' : `int${bits}`
  const of = { tensor: 'tensor', channel: 'row', group: `${groupSize}`, block: block?.join('×') }
  return `${format} ${kind}, a scale a ${of[strategy]}`
}
