/**
 * A model's chat templates: messages and tools in, the prompt's text out.
 *
 * Owns the parsed templates. Knows what transformers gives a template (variables, whitespace options); knows no
 * tokenizer. JavaScript thread only; rendering is synchronous and bounded (`template-interpreter.ts`).
 *
 * The prompt is one string, and its special tokens are recognised when it is encoded (with `addSpecialTokens: false`,
 * because the template writes them itself). That includes special tokens inside a user's text, as in vLLM and
 * transformers: roles are a convention of the model, not a wall between authors.
 * Source: huggingface/transformers, `apply_chat_template`.
 */

import { type Clock, systemClock } from '../base/clock.ts'
import {
  checkMessageSize,
  DEFAULT_MESSAGE_LIMITS,
  type MessageLimits,
  type TemplateChatMessage,
  templateMessages,
} from './chat-messages.ts'
import { quote, reasonOf, textError } from './errors.ts'
import {
  DEFAULT_TEMPLATE_LIMITS,
  type ParsedTemplate,
  parseTemplate,
  renderTemplate,
  TemplateBudgetExceeded,
  type TemplateLimits,
  TemplateRefusal,
} from './template-interpreter.ts'
import type { TokenizerDescription } from './tokenizer-description.ts'

export interface ChatTemplateInput {
  readonly messages: readonly TemplateChatMessage[]
  readonly tools: readonly unknown[] | null
  /** End with what opens the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean
}

export interface ChatTemplateOptions {
  readonly clock?: Clock
  readonly templateLimits?: TemplateLimits
  readonly messageLimits?: MessageLimits
}

/** Longest template in UTF-16 units; the longest in use have some 20,000. */
const MAX_TEMPLATE_LENGTH = 262_144

interface NamedTemplate {
  readonly program: ParsedTemplate
  readonly readsTools: boolean
}

export class ChatTemplate {
  readonly #templates = new Map<string, NamedTemplate>()
  readonly #specialTokens: Readonly<Record<string, string>>
  readonly #clock: Clock
  readonly #templateLimits: TemplateLimits
  readonly #messageLimits: MessageLimits

  /** @throws ServingError TEXT_BAD_CHAT_TEMPLATE when one of them cannot be parsed */
  constructor(
    description: Pick<TokenizerDescription, 'chatTemplates' | 'specialTokens'>,
    options: ChatTemplateOptions = {},
  ) {
    this.#specialTokens = description.specialTokens
    this.#clock = options.clock ?? systemClock
    this.#templateLimits = options.templateLimits ?? DEFAULT_TEMPLATE_LIMITS
    this.#messageLimits = options.messageLimits ?? DEFAULT_MESSAGE_LIMITS
    for (const [name, source] of description.chatTemplates) {
      this.#templates.set(name, parseNamed(name, source))
    }
  }

  /** False for a base model, which can only complete texts. */
  get isPresent(): boolean {
    return this.#templates.size > 0
  }

  /**
   * The prompt's text.
   *
   * @throws ServingError TEXT_NO_CHAT_TEMPLATE, TEXT_TEMPLATE_WITHOUT_TOOLS, TEXT_MESSAGES_TOO_LARGE,
   *   TEXT_BAD_TOOL_ARGUMENTS, TEXT_TEMPLATE_REFUSED, TEXT_TEMPLATE_FAILED, TEXT_TEMPLATE_TOO_COSTLY; all 400
   *
   * Cost: 0.05 ms for a short chat; bounded by the limits.
   */
  render(input: ChatTemplateInput): string {
    // An empty list asks for nothing, and templates test `if tools`.
    const tools = input.tools !== null && input.tools.length > 0 ? input.tools : null
    const template = this.#choose(tools !== null)
    checkMessageSize(input.messages, tools, this.#messageLimits)
    const variables = {
      ...this.#specialTokens,
      messages: templateMessages(input.messages),
      tools,
      documents: null,
      add_generation_prompt: input.addGenerationPrompt ?? true,
    }
    try {
      return renderTemplate(template.program, variables, {
        limits: this.#templateLimits,
        wallMs: this.#clock.wallMs(),
        nowMs: this.#clock.nowMs,
      })
    } catch (cause) {
      throw renderingError(cause)
    }
  }

  /** As transformers: with tools the one named `tool_use` where there is one, else the default. */
  #choose(hasTools: boolean): NamedTemplate {
    const template =
      (hasTools ? this.#templates.get('tool_use') : undefined) ?? this.#templates.get('default')
    if (template === undefined) throw textError('TEXT_NO_CHAT_TEMPLATE', { param: 'messages' })
    if (hasTools && !template.readsTools) {
      throw textError('TEXT_TEMPLATE_WITHOUT_TOOLS', { param: 'tools' })
    }
    return template
  }
}

function parseNamed(name: string, source: string): NamedTemplate {
  const template = quote(name)
  if (source.length > MAX_TEMPLATE_LENGTH) {
    const reason = `it has ${source.length} characters, more than ${MAX_TEMPLATE_LENGTH}`
    throw textError('TEXT_BAD_CHAT_TEMPLATE', { details: { template, reason } })
  }
  try {
    return { program: parseTemplate(source), readsTools: /\btools\b/.test(source) }
  } catch (cause) {
    throw textError('TEXT_BAD_CHAT_TEMPLATE', {
      details: { template, reason: reasonOf(cause) },
      cause,
    })
  }
}

function renderingError(cause: unknown): Error {
  if (cause instanceof TemplateBudgetExceeded) {
    const details = { limit: cause.message }
    return textError('TEXT_TEMPLATE_TOO_COSTLY', { param: 'messages', details, cause })
  }
  const code = cause instanceof TemplateRefusal ? 'TEXT_TEMPLATE_REFUSED' : 'TEXT_TEMPLATE_FAILED'
  return textError(code, { param: 'messages', details: { reason: reasonOf(cause) }, cause })
}
