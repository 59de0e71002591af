import { useState } from 'preact/hooks'
import type { Rule } from '../api/types.ts'
import { changePolicy } from '../state/change-policy.ts'
import { Choices } from './choices.tsx'
import { ReasonForm } from './reason-form.tsx'

/** Senders for whom a rule may be in force, with its `shadow` in the policy. */
const SHADOWS = { none: true, '10 %': '90%', '50 %': '50%', all: false } as const
type Enforced = keyof typeof SHADOWS
const STEPS = Object.keys(SHADOWS) as Enforced[]
/** Share of the senders for which each step has the rule in shadow. */
const SHARES = [1, 0.9, 0.5, 0]

/** Takes a rule out of shadow in steps, or puts it back. */
export function RuleEnforcement({ rule: { name, shadowShare } }: { readonly rule: Rule }) {
  const [step, setStep] = useState<Enforced>()
  const now = STEPS[SHARES.indexOf(shadowShare)]
  return (
    <div class="wide">
      <h2>In force for</h2>
      <Choices
        label={`Senders for whom ${name} is in force`}
        options={STEPS}
        chosen={step ?? now}
        onChoose={setStep}
      />
      {step && step !== now && (
        <ReasonForm
          key={step}
          submitLabel={`In force for ${step}: ${name}`}
          onCancel={() => setStep(undefined)}
          onSubmit={async reason => {
            const body = { shadow: SHADOWS[step], reason }
            await changePolicy(
              `${name} is in force for ${step}`,
              'PUT',
              `rules/${encodeURIComponent(name)}`,
              body,
            )
            setStep(undefined)
          }}
        />
      )}
    </div>
  )
}
