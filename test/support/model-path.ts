/** Where the default model's file lies. INGOT_TEST_MODEL overrides; otherwise it comes through the store, once. */
export async function modelPath(): Promise<string> {
  const given = process.env.INGOT_TEST_MODEL
  if (given !== undefined && given !== '') return given
  throw new Error(
    'the store has no fetch yet; set INGOT_TEST_MODEL to the path of the default model',
  )
}
