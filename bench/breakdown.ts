import { alternate, nanoseconds, runCell, section, table } from './harness.ts'

/** What the cell `profile` adds one after another. */
export const STAGES = [
  'bare: a deficit on a slot bound to the connection, three times',
  '+ sender state: same routes, sender, topic and action as before',
  '+ exemptions: those the sender plan leaves to check',
  '+ generations: each slot is still that of its key',
  '+ verdicts and decision object',
  '+ a fresh message object',
  '+ the clock',
  'the gate itself',
] as const

const OUTCOMES = ['allowed', 'refused'] as const

/** Where a decision by three rules spends its time. */
export async function profile(rounds: number): Promise<string> {
  const cells = STAGES.flatMap((_, stage) => OUTCOMES.map(outcome => [String(stage), outcome] as const))
  const found = await alternate(
    rounds,
    Object.fromEntries(cells.map(cell => [cell.join(), () => runCell('profile', cell)])),
  )
  const nsOf = (stage: number, outcome: string): number => found[`${stage},${outcome}`]!.ns!
  const rows = STAGES.map((name, stage) => [
    name,
    ...OUTCOMES.flatMap(outcome => {
      const ns = nsOf(stage, outcome)
      const before = stage === 0 ? 0 : nsOf(stage - 1, outcome)
      return [
        nanoseconds(ns),
        stage === 0 ? '' : `${ns < before ? '−' : '+'}${Math.abs(ns - before).toFixed(0)}`,
      ]
    }),
  ])
  const ratio = (outcome: string): string => (nsOf(STAGES.length - 1, outcome) / nsOf(0, outcome)).toFixed(1)
  return section(
    'Where the time goes',
    `Three rules, 10,000 senders in random order. The bare loop has only three numbers a rule and does the least that a limiter must do. Below it the stages of a decision are added one after another. Each line is the fastest of nine passes in a separate process. In total a decision takes ${ratio('allowed')} times the bare loop if it is allowed and ${ratio('refused')} times if it is refused. Differences of a few ns are noise, and a stage may hide in the cache misses of another: the bare loop already waits for the sender and its slots. The cost of a verdict beyond the bare deficit is mostly division. The remaining units of every rule are whole numbers, and so are the wait and the refill time of the reported rule.`,
    table(['stage', 'allowed', 'ns more', 'refused', 'ns more'], rows),
  )
}
