/**
 * How a BPE tokenizer cuts text before merging, by the name in GGUF's `tokenizer.ggml.pre`: every name that llama.cpp
 * knew on 2026-09-28.
 *
 * Data only. A cutter is written as Hugging Face's `tokenizer.json` writes it, in order: regular expressions (each
 * match and each gap becomes a piece) or single digits, then GPT-2's byte alphabet. Where the model's own
 * `tokenizer.json` is known and differs from llama.cpp's list, the former is used, because the model was trained with
 * it: llama.cpp writes upper and lower case as `[^a-z]` and `[^A-Z]`, and cuts `kimi-k2` and `afmoe` by hand.
 *
 * Source: llama.cpp, `src/llama-vocab.cpp` (names, regular expressions, `ignore_merges`, `add_bos`, `byte_encode`).
 */

export interface PreTokenizer {
  /** Applied in order to the pieces of the one before. */
  readonly cuts: readonly Cut[]
  /** A piece that is a token is taken whole, without merging. */
  readonly ignoresMerges: boolean
  /** What `tokenizer.ggml.add_bos_token` is when the file is silent. */
  readonly addsBos: boolean
  readonly spelling: Spelling
}

/**
 * How a vocabulary writes text: in GPT-2's byte alphabet, or as it is, with `▁` for a space in SentencePiece's manner.
 * The latter two write characters that are no token as `<0xNN>`.
 */
export type Spelling = 'byteAlphabet' | 'escapedSpaces' | 'plain'

/** `gpt-2` and `digits` are tokenizer.json's own `ByteLevel` and `Digits`; they are faster than the same as `regex`. */
export type Cut =
  | { readonly kind: 'regex'; readonly pattern: string }
  | { readonly kind: 'digits' | 'gpt-2' }

const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const SPACES = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const LETTERS = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+'
const SYMBOLS = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*'
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
const PUNCTUATED_WORD = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+'
const CJK = '[一-龥぀-ゟ゠-ヿ]+'
const DEEPSEEK_V3 = [
  regex('\\p{N}{1,3}'),
  regex(CJK),
  regex(
    `${PUNCTUATED_WORD}|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${SPACES}`,
  ),
]
const SPARK = [
  regex('\\p{N}{1,3}'),
  regex(CJK),
  regex(
    `${PUNCTUATED_WORD}|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+`,
  ),
  DIGITS,
]
const YOUTU = [
  regex('[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+'),
  regex(`${cased(`${CONTRACTION}?`)}|\\p{N}|${SYMBOLS_WITH_SLASH}|${SPACES}`),
]
/** All that has upper and lower case, as the model's authors listed it. */
const DEEPSEEK_LLM_LETTERS =
  '[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄῆ-ῌῐ-\u1FD3ῖ-\u1FDBῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+'
const DEEPSEEK_LLM = [
  regex('[\\r\\n]'),
  regex(`\\s?${DEEPSEEK_LLM_LETTERS}`),
  regex('\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+'),
  regex('\\s+$'),
  regex('[一-龥ࠀ-一가-퟿]+'),
  regex('\\p{N}+'),
]
const JAIS_2_SPACES = [512, 256, 128, 64, 32, 16, 8, 4, '1,2']
  .map((count) => `\\s{${count}}(?!\\S)`)
  .join('|')
const JAIS_2 = regex(
  `${CONTRACTION}|${LETTERS}|\\p{N}{1,3}|${SYMBOLS}|\\s*[\\r\\n]+|${JAIS_2_SPACES}|\\s{1}`,
)
const CHAMELEON = [
  regex('<sentinel:[0-9]+>'),
  regex('(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z'),
  regex('([\\t\\n]|    |  )'),
  DIGITS,
  regex('[\\p{P}!-/:-@\\[-`{-~]'),
  GPT_2,
]
/** Groups of three from the right. */
const GROUPED_DIGITS = '\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))'
const AFMOE = [
  regex(GROUPED_DIGITS),
  regex(
    '[一-鿿㐀-䶿豈-\uFAFF\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2FDFเ-\u0E7F\u0E80-\u0EFFក-\u17FFက-႟ꩠ-ꩿꧠ-\uA9FF가-\uD7AFᄀ-ᇿ]+',
  ),
  regex(
    `${PUNCTUATED_WORD}|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${SPACES}`,
  ),
]
const TINY_AYA = [regex('\\d{1,3}(?=(?:\\d{3})*\\b)'), GPT_4O]
/** Chinese characters are words of their own. Source: moonshotai, `tokenization_kimi.py`. */
const KIMI_K2 = regex(
  `\\p{Han}+|${casedOf('&&[^\\p{Han}]', `${CONTRACTION}?`)}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${SPACES}`,
)
const SUPERBPE = [regex('\\p{N}+'), regex('(?=(\\d{3})+(?!\\d))')]
const EXAONE_MOE = regex(
  `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`,
)
const MINICPM_5 = [
  regex('\\p{N}{1,3}'),
  regex(`${CONTRACTION}|${LETTERS}|\\p{N}+|${SYMBOLS}|${SPACES}`),
]
const UFAKZEKA = regex(`${LETTERS}|\\p{N}|${SYMBOLS}|${SPACES}`)
const LINES = regex('[^\\n]+|[\\n]+')
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
  /** Byte alphabet when absent. */
  readonly spelling?: Spelling
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
      'jina-es',
      'jina-de',
      'jina-v2-es',
      'jina-v2-de',
      'jina-v1-en',
      'jina-v2-code',
      'roberta-bpe',
      'modern-bert',
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
      'jina-v5-nano',
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
  { names: ['granite-embed-multi-97m'], cuts: [GPT_4O], ignoresMerges: true },
  { names: ['deepseek-llm'], cuts: DEEPSEEK_LLM },
  { names: ['spark2_5'], cuts: SPARK },
  { names: ['youtu'], cuts: YOUTU, ignoresMerges: true },
  { names: ['jais-2'], cuts: [JAIS_2] },
  { names: ['chameleon'], cuts: CHAMELEON, addsBos: true },
  { names: ['tiny_aya', 'cohere2moe'], cuts: TINY_AYA },
  { names: ['kimi-k2'], cuts: [KIMI_K2] },
  { names: ['superbpe'], cuts: SUPERBPE },
  { names: ['afmoe'], cuts: AFMOE },
  { names: ['laguna'], cuts: [LINES, QWEN_2] },
  { names: ['exaone-moe'], cuts: [EXAONE_MOE] },
  { names: ['minicpm5'], cuts: MINICPM_5, ignoresMerges: true },
  { names: ['ufakzeka'], cuts: [UFAKZEKA] },
  {
    names: ['gemma4', 'granite-embed-multi-311m'],
    cuts: [LINES],
    addsBos: true,
    spelling: 'escapedSpaces',
  },
  { names: ['sarvam-moe'], cuts: [LINES], spelling: 'escapedSpaces' },
  { names: ['whitespace'], cuts: [regex('\\S+')], spelling: 'plain' },
]

/** By the name in `tokenizer.ggml.pre`. */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(
  families.flatMap(
    ({ names, cuts, ignoresMerges = false, addsBos = false, spelling = 'byteAlphabet' }) => {
      const pre = Object.freeze({ cuts, ignoresMerges, addsBos, spelling })
      return names.map((name) => [name, pre] as const)
    },
  ),
)

/** A word in camel case ends where a capital begins. */
function cased(tail: string): string {
  return casedOf('', tail)
}

/** @param but - what both kinds of letters leave out, as the end of a character class */
function casedOf(but: string, tail: string): string {
  const before = '[^\\r\\n\\p{L}\\p{N}]?'
  const upper = `[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}${but}]`
  const lower = `[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}${but}]`
  return `${before}${upper}*${lower}+${tail}|${before}${upper}+${lower}*${tail}`
}

function regex(pattern: string): Cut {
  return { kind: 'regex', pattern }
}
