/**
 * One completion request and what became of it. `lost` is everything that a client could not have known what to do
 * with: a broken connection, an end without `[DONE]` or an error, a refusal without its shape or its `Retry-After`.
 */

export type Outcome = 'answered' | 'refused' | 'failed' | 'hung up' | 'lost'

export interface RequestPlan {
  readonly target: string
  readonly prompt: string
  readonly maxTokens: number
  readonly isStreamed: boolean
  /** Close the connection after so long; `null` = stay. */
  readonly hangUpMs: number | null
  /** `X-Scale-Up-Timeout`, seconds; `null` = the endpoint's own. */
  readonly waitSeconds: number | null
}

export interface RequestResult {
  readonly plan: RequestPlan
  readonly outcome: Outcome
  /** The error's code, or why it counts as lost. */
  readonly detail: string
  readonly text: string
  /** Of streams: from the request to the first piece of text. */
  readonly firstTokenMs: number | null
  readonly totalMs: number
  readonly retryAfterSeconds: number | null
  /** Which variant answered, as the answer says. */
  readonly variant: string | null
}

interface ErrorBody {
  readonly error?: { readonly message?: unknown; readonly type?: unknown; readonly code?: unknown }
}

interface AnswerBody extends ErrorBody {
  readonly choices?: readonly { readonly text?: string; readonly finish_reason?: string | null }[]
  readonly ingot?: { readonly endpoint: string; readonly variant: string }
}

type Ending = Pick<RequestResult, 'outcome' | 'detail'> &
  Partial<Pick<RequestResult, 'text' | 'firstTokenMs' | 'retryAfterSeconds' | 'variant'>>

export async function requestOnce(url: string, plan: RequestPlan): Promise<RequestResult> {
  const startMs = performance.now()
  const abort = new AbortController()
  const timer = plan.hangUpMs === null ? undefined : setTimeout(() => abort.abort(), plan.hangUpMs)
  let ending: Ending
  try {
    ending = await answerOf(url, plan, abort.signal, startMs)
  } catch (error) {
    ending = abort.signal.aborted
      ? { outcome: 'hung up', detail: '' }
      : { outcome: 'lost', detail: `connection: ${causeOf(error)}` }
  } finally {
    clearTimeout(timer)
  }
  const totalMs = performance.now() - startMs
  const none = { text: '', firstTokenMs: null, retryAfterSeconds: null, variant: null }
  return { plan, totalMs, ...none, ...ending }
}

async function answerOf(
  url: string,
  plan: RequestPlan,
  signal: AbortSignal,
  startMs: number,
): Promise<Ending> {
  const { target, prompt, maxTokens, isStreamed, waitSeconds } = plan
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    signal,
    headers: {
      'content-type': 'application/json',
      ...(waitSeconds === null ? {} : { 'x-scale-up-timeout': String(waitSeconds) }),
    },
    body: JSON.stringify({
      model: target,
      prompt,
      max_tokens: maxTokens,
      temperature: 0,
      ignore_eos: true,
      // An answer then tells who gave it.
      provider: {},
      stream: isStreamed,
    }),
  })
  if (!response.ok) return refusal(response, await response.text())
  if (isStreamed) return readStream(response, startMs)
  const body = (await response.json()) as AnswerBody
  const choice = body.choices?.[0]
  if (choice?.text === undefined || choice.finish_reason !== 'length') {
    return { outcome: 'lost', detail: `a body without its answer: ${JSON.stringify(body)}` }
  }
  return { outcome: 'answered', detail: '', text: choice.text, variant: variantOf(body) }
}

/** Only what says that another try may help: nothing that is asked for here is wrong. */
function refusal(response: Response, text: string): Ending {
  const error = errorOf(text)
  const retryAfter = response.headers.get('retry-after')
  const isProper = error !== null && /^\d+$/.test(retryAfter ?? '')
  if (!isProper || ![429, 503].includes(response.status)) {
    return { outcome: 'lost', detail: `status ${response.status}: ${text.slice(0, 300)}` }
  }
  return { outcome: 'refused', detail: error, retryAfterSeconds: Number(retryAfter) }
}

async function readStream(response: Response, startMs: number): Promise<Ending> {
  let rest = ''
  let text = ''
  let firstTokenMs: number | null = null
  let variant: string | null = null
  let finish: string | null = null
  let failure: string | null = null
  let isDone = false
  for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const events = (rest + piece).split('\n\n')
    rest = events.pop() ?? ''
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1]
      if (data === '[DONE]') isDone = true
      if (data === undefined || data === '[DONE]') continue
      const frame = JSON.parse(data) as AnswerBody
      if (frame.error !== undefined) failure = errorOf(data) ?? `no proper error: ${data}`
      const added = frame.choices?.[0]?.text ?? ''
      if (added !== '') firstTokenMs ??= performance.now() - startMs
      text += added
      finish = frame.choices?.[0]?.finish_reason ?? finish
      variant = variantOf(frame) ?? variant
    }
  }
  const known = { text, firstTokenMs, variant }
  if (failure?.startsWith('no proper') === true)
    return { outcome: 'lost', detail: failure, ...known }
  if (failure !== null) return { outcome: 'failed', detail: failure, ...known }
  if (isDone && finish === 'length') return { outcome: 'answered', detail: '', ...known }
  return {
    outcome: 'lost',
    detail: `a stream that ended after ${text.length} characters`,
    ...known,
  }
}

/** `type: first words` of an error in the API's shape, `null` of anything else. */
function errorOf(text: string): string | null {
  try {
    const { error } = JSON.parse(text) as ErrorBody
    const { message, type, code } = error ?? {}
    if (typeof message !== 'string' || typeof type !== 'string') return null
    return `${typeof code === 'string' ? code : type}: ${message.replaceAll(/\d[\d.,]*/g, 'N').slice(0, 90)}`
  } catch {
    return null
  }
}

function variantOf({ ingot }: AnswerBody): string | null {
  return ingot === undefined ? null : `${ingot.endpoint}/${ingot.variant}`
}

function causeOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message}: ${cause.message}` : message
}
