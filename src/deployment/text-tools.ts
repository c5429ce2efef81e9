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
import { RecentlyUsed } from './recently-used.ts'

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

/** Of models that are served, each variant holds its own tools; these are for those that come again. 23 MB for 50,000 tokens. */
const MAX_KEPT = 4

/** Begins to make a tokenizer elsewhere. @returns waits for it */
export type BeginTokenizer = (description: TokenizerDescription) => () => Tokenizer

export class TextToolsCache {
  readonly #made = new RecentlyUsed<TextTools>(MAX_KEPT)
  /** What is being made; calling one waits for it. */
  readonly #begun = new RecentlyUsed<() => TextTools>(MAX_KEPT)
  readonly #beginTokenizer: BeginTokenizer
  readonly #clock: Clock

  constructor(beginTokenizer: BeginTokenizer, clock: Clock) {
    this.#beginTokenizer = beginTokenizer
    this.#clock = clock
  }

  /** Begin to make them on another thread, for whoever needs them soon. @throws ServingError of the text room */
  begin(source: TextSource): void {
    const key = keyOf(source.source)
    if (this.#made.get(key) !== undefined || this.#begun.get(key) !== undefined) return
    this.#begun.set(key, this.#begin(source.facts))
  }

  /**
   * Cost: unless they were made before, waits for about 0.2 s less the time since `begin`, for a vocabulary of 50,000.
   *
   * @throws ServingError of the text room
   */
  of(source: TextSource): TextTools {
    const key = keyOf(source.source)
    const known = this.#made.get(key)
    if (known !== undefined) return known
    const finish = this.#begun.get(key) ?? this.#begin(source.facts)
    this.#begun.delete(key)
    const tools = finish()
    this.#made.set(key, tools)
    return tools
  }

  #begin({ tokenizer: description, config }: TextSource['facts']): () => TextTools {
    if (description === null) {
      return () => ({ tokenizer: withoutTokenizer(config.eosTokenIds), template: NO_TEMPLATE })
    }
    const template = new ChatTemplate(description, { clock: this.#clock })
    const finish = this.#beginTokenizer(description)
    return () => {
      const tokenizer = finish()
      checkVocabulary(tokenizer, description, config.vocabSize)
      return { tokenizer, template }
    }
  }
}

function keyOf({ digest, path }: TextSource['source']): string {
  return `${digest} ${path}`
}
