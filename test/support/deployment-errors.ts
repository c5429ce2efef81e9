/** Refusals as the deployment room makes them, from its own table. */

import type { ServingError } from '../../src/base/errors.ts'
import { deploymentError } from '../../src/deployment/errors.ts'

export function deploymentErrorLike(
  kind: 'overloaded' | 'context' | 'maxTokens' | 'notReady',
): ServingError {
  const model = 'fake-model'
  switch (kind) {
    case 'overloaded':
      return deploymentError('DEPLOYMENT_OVERLOADED', {
        retryAfterSeconds: 7,
        details: { model, numActive: 3, capacity: 3, retryAfterSeconds: 7 },
      })
    case 'context':
    case 'maxTokens':
      return deploymentError('REQUEST_CONTEXT_TOO_LONG', {
        param: kind === 'context' ? 'messages' : 'maxTokens',
        details: { maxContextTokens: 1024, promptTokens: 2000, answer: '' },
      })
    case 'notReady':
      return deploymentError('DEPLOYMENT_NOT_READY', {
        details: { model, reason: 'its engine process ended', retryAfterSeconds: 5 },
      })
  }
}
