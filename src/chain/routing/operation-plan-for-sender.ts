import type { OperationPlan, SenderState } from '../senders/sender-state.ts'

/** Returns the plan in force for a sender: that of its behaviour level, if the policy has `behaviour`. */
export function operationPlanForSender(
  senderState: SenderState,
  nowMs: number,
): Pick<OperationPlan, 'steps' | 'evaluator' | 'passed' | 'notFor'> {
  const { plan } = senderState.senderPlan!
  const { evaluator } = plan
  return evaluator.kind === 'behaviour'
    ? { ...plan, steps: evaluator.planFor(senderState, nowMs).steps }
    : plan
}
