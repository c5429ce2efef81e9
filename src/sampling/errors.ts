/** What is wrong with a sampling parameter. `param` is its neutral name; each dialect puts its own word in. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

export const samplingError: (
  code: 'SAMPLING_OUT_OF_RANGE' | 'SAMPLING_TOO_MANY_ENTRIES' | 'SAMPLING_UNKNOWN_PARAMETER',
  options?: ServingErrorOptions,
) => ServingError = defineErrors('sampling', {
  SAMPLING_OUT_OF_RANGE: {
    status: 400,
    retryable: false,
    message: 'expected {param} to be {expected}, got {got}: change it or leave it out',
  },
  SAMPLING_TOO_MANY_ENTRIES: {
    status: 400,
    retryable: false,
    message: 'expected at most {maxEntries} entries in {param}, got {numEntries}: send fewer',
  },
  SAMPLING_UNKNOWN_PARAMETER: {
    status: 400,
    retryable: false,
    message:
      'expected a sampling parameter, got {param}: leave it out, for it would have no effect',
  },
})
