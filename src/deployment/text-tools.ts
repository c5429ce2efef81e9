/**
 * A model's tokenizer and chat template, made once and kept while the weights come and go: making them takes most of a
 * small model's cold start. Owns what it made, by path and digest of the weights.
 */

import type { Clock } from '../base/clock.ts'
import { ChatTemplate } from '../text/chat-template.ts'
import { NO_TEMPLATE, withoutTokenizer } from '../text/no-tokenizer.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { TokenizerDescription } from '../text/tokenizer-description.ts'
import { checkVocabulary } from '../text/vocabulary-check.ts'
import type { ModelFacts } from './model-facts.ts'
import type { DeploymentPlan } from './plan-deployment.ts'

export interface TextTools {
  readonly tokenizer: Tokenizer
  readonly template: Pick<ChatTemplate, 'render'>
}

/** The part of a plan that text tools are made from. */
export interface TextSource {
  readonly source: Pick<DeploymentPlan['source'], 'path' | 'digest'>
  readonly facts: Pick<ModelFacts, 'tokenizer'> & {
    readonly config: Pick<ModelFacts['config'], 'eosTokenIds' | 'vocabSize'>
  }
}

export class TextToolsCache {
  readonly #made = new Map<string, TextTools>()
  readonly #createTokenizer: (description: TokenizerDescription) => Tokenizer
  readonly #clock: Clock

  constructor(createTokenizer: (description: TokenizerDescription) => Tokenizer, clock: Clock) {
    this.#createTokenizer = createTokenizer
    this.#clock = clock
  }

  /**
   * Cost: the first time about 0.1 s for a vocabulary of 50,000, on the event loop.
   *
   * @throws ServingError of the text room
   */
  of({ source, facts }: TextSource): TextTools {
    const key = `${source.digest} ${source.path}`
    const known = this.#made.get(key)
    if (known !== undefined) return known
    const tools = this.#make(facts)
    this.#made.set(key, tools)
    return tools
  }

  /** Keep only what these need. */
  keepOnly(sources: Iterable<TextSource['source']>): void {
    const keys = new Set([...sources].map(({ digest, path }) => `${digest} ${path}`))
    for (const key of this.#made.keys()) if (!keys.has(key)) this.#made.delete(key)
  }

  #make({ tokenizer: description, config }: TextSource['facts']): TextTools {
    if (description === null) {
      return { tokenizer: withoutTokenizer(config.eosTokenIds), template: NO_TEMPLATE }
    }
    const template = new ChatTemplate(description, { clock: this.#clock })
    const tokenizer = this.#createTokenizer(description)
    checkVocabulary(tokenizer, description, config.vocabSize)
    return { tokenizer, template }
  }
}
