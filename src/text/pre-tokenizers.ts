/**
 * How a byte-level BPE tokenizer cuts text before merging, by the name in GGUF's `tokenizer.ggml.pre`.
 *
 * Data only. A cutter is written as Hugging Face's `tokenizer.json` writes it, in order: regular expressions (each
 * match and each gap becomes a piece) or single digits, then GPT-2's byte alphabet. Where the model's own
 * `tokenizer.json` is known to differ in letter but not in effect from llama.cpp's list, the former is used.
 *
 * Not here, because they need more than cutting: names whose text is not byte-level (`gemma4`, `whitespace`), that cut
 * with hand-written code (`kimi-k2`, `afmoe`), or that belong to encoder models (`jina-*`, `roberta-bpe`).
 *
 * Source: llama.cpp, `src/llama-vocab.cpp` (names, regular expressions, `ignore_merges`, `add_bos`).
 */

export interface PreTokenizer {
  /** Applied in order to the pieces of the one before. */
  readonly cuts: readonly Cut[]
  /** A piece that is a token is taken whole, without merging. */
  readonly ignoresMerges: boolean
  /** What `tokenizer.ggml.add_bos_token` is when the file is silent. */
  readonly addsBos: boolean
}

/** `gpt-2` and `digits` are tokenizer.json's own `ByteLevel` and `Digits`; they are faster than the same as `regex`. */
export type Cut =
  | { readonly kind: 'regex'; readonly pattern: string }
  | { readonly kind: 'digits' | 'gpt-2' }

const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const SPACES = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const LETTERS = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+'
const SYMBOLS = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*'
const UPPER = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]'
const LOWER = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'
const SYMBOLS_WITH_SLASH = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*'

/** GPT-2's own pattern, for where it is not the last cut. Source: openai/gpt-2, `src/encoder.py`. */
export const GPT_2_PATTERN: string =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

const GPT_2: Cut = { kind: 'gpt-2' }
const DIGITS: Cut = { kind: 'digits' }
const LLAMA_3 = regex(`${CONTRACTION}|${LETTERS}|\\p{N}{1,3}|${SYMBOLS}|${SPACES}`)
const QWEN_2 = regex(`${CONTRACTION}|${LETTERS}|\\p{N}|${SYMBOLS}|${SPACES}`)
const QWEN_35 = regex(
  `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${SPACES}`,
)
const GPT_4O = regex(`${cased(`${CONTRACTION}?`)}|\\p{N}{1,3}|${SYMBOLS_WITH_SLASH}|${SPACES}`)
const TEKKEN = regex(`${cased('')}|\\p{N}|${SYMBOLS_WITH_SLASH}|${SPACES}`)
const BAILING = regex(
  `'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`,
)
const SEED_CODER = regex(
  `${CONTRACTION}|${LETTERS}|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${SPACES}`,
)
const DEEPSEEK_V3 = [
  regex('\\p{N}{1,3}'),
  regex('[一-龥぀-ゟ゠-ヿ]+'),
  regex(
    `[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_\`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${SPACES}`,
  ),
]
const DEEPSEEK_CODER = [
  regex('[\\r\\n]'),
  regex('\\s?\\p{L}+'),
  regex('\\s?\\p{P}+'),
  regex('[一-龥ࠀ-一가-퟿]+'),
  DIGITS,
]
const FALCON = [regex('[\\p{P}$+<=>^~|`]+'), GPT_2, regex('[0-9][0-9][0-9]')]
const DEFAULT = [regex('[\\p{P}$+<=>^~|]+'), GPT_2, regex('\\p{N}+'), regex('[0-9][0-9][0-9]')]
const BLOOM = regex(' ?[^(\\s|.,!?…。，、।۔،)]+')

interface Family {
  readonly names: readonly string[]
  readonly cuts: readonly Cut[]
  readonly ignoresMerges?: true
  readonly addsBos?: true
}

const families: readonly Family[] = [
  { names: ['default'], cuts: DEFAULT },
  {
    names: [
      'gpt-2',
      'phi-2',
      'mpt',
      'olmo',
      'jais',
      'trillion',
      'granite-docling',
      'exaone4',
      'mellum',
      'gigachat',
      'a.x-4.0',
    ],
    cuts: [GPT_2],
  },
  {
    names: [
      'smollm',
      'starcoder',
      'refact',
      'command-r',
      'codeshell',
      'exaone',
      'minerva-7b',
      'mellum2',
    ],
    cuts: [DIGITS, GPT_2],
  },
  {
    names: [
      'llama-bpe',
      'llama3',
      'llama-v3',
      'falcon3',
      'falcon-h1',
      'pixtral',
      'midm-2.0',
      'lfm2',
    ],
    cuts: [LLAMA_3],
    ignoresMerges: true,
    addsBos: true,
  },
  { names: ['dbrx', 'smaug-bpe', 'glm4', 'chatglm-bpe'], cuts: [LLAMA_3] },
  {
    names: [
      'qwen2',
      'stablelm2',
      'deepseek-r1-qwen',
      'megrez',
      'hunyuan',
      'grok-2',
      'solar-open',
      'kormo',
      'f2llmv2',
    ],
    cuts: [QWEN_2],
  },
  { names: ['qwen35'], cuts: [QWEN_35] },
  { names: ['gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2'], cuts: [GPT_4O] },
  { names: ['tekken'], cuts: [TEKKEN], ignoresMerges: true, addsBos: true },
  { names: ['deepseek-v3', 'hunyuan-dense', 'joyai-llm', 'hy_v4'], cuts: DEEPSEEK_V3 },
  { names: ['deepseek-coder'], cuts: DEEPSEEK_CODER },
  { names: ['falcon'], cuts: FALCON },
  { names: ['bloom', 'poro-chat', 'gpt3-finnish'], cuts: [BLOOM] },
  { names: ['viking'], cuts: [BLOOM, DIGITS] },
  { names: ['bailingmoe', 'bailingmoe2', 'llada-moe'], cuts: [BAILING] },
  { names: ['seed-coder'], cuts: [SEED_CODER] },
]

/** By the name in `tokenizer.ggml.pre`. */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(
  families.flatMap(({ names, cuts, ignoresMerges = false, addsBos = false }) =>
    names.map((name) => [name, Object.freeze({ cuts, ignoresMerges, addsBos })] as const),
  ),
)

/** A word in camel case ends where a capital begins. */
function cased(tail: string): string {
  const before = '[^\\r\\n\\p{L}\\p{N}]?'
  return `${before}${UPPER}*${LOWER}+${tail}|${before}${UPPER}+${LOWER}*${tail}`
}

function regex(pattern: string): Cut {
  return { kind: 'regex', pattern }
}
