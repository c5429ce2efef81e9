import { expect, it } from 'vitest'
import { admissionPace } from '../../../src/deployment/admission-pace.ts'

const engine = (predictedWaitMs: number, numWaiting: number) => ({ predictedWaitMs, numWaiting })

it.each([
  ['nobody', [], null],
  ['an engine that has not spoken', [null], null],
  ['an engine that lets anybody in', [engine(0, 0)], null],
  ['one before which three wait', [engine(2000, 3)], 500],
  ['two that are as fast', [engine(2000, 3), engine(1000, 1), null], 250],
])('the pace of %s', (_, engines, expected) => {
  expect(admissionPace(engines)).toBe(expected)
})
