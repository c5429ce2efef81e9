/** A build that cannot go on for a reason outside our code; its message is meant for people, without a stack. */
export class BuildError extends Error {
  name = 'BuildError'
}
