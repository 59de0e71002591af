/** Number of rules whose slots are fields of the sender state. Further slots are in blocks of as many. */
export const INLINE_SLOTS = 4
export const NO_SLOT = 0
export const NO_GENERATION = -1

/** Slots and generations of four rules. */
export interface FourSlots {
  slot0: number
  generation0: number
  slot1: number
  generation1: number
  slot2: number
  generation2: number
  slot3: number
  generation3: number
}

export function readSlot(slots: FourSlots, index: number): number {
  switch (index) {
    case 0:
      return slots.slot0
    case 1:
      return slots.slot1
    case 2:
      return slots.slot2
    default:
      return slots.slot3
  }
}

export function readGeneration(slots: FourSlots, index: number): number {
  switch (index) {
    case 0:
      return slots.generation0
    case 1:
      return slots.generation1
    case 2:
      return slots.generation2
    default:
      return slots.generation3
  }
}

export function writeSlot(slots: FourSlots, index: number, slot: number, generation: number): void {
  switch (index) {
    case 0:
      slots.slot0 = slot
      slots.generation0 = generation
      return
    case 1:
      slots.slot1 = slot
      slots.generation1 = generation
      return
    case 2:
      slots.slot2 = slot
      slots.generation2 = generation
      return
    default:
      slots.slot3 = slot
      slots.generation3 = generation
  }
}

/** Slots of rules beyond the first four. An object with fields. Why: an array is two objects, each a cache miss. */
export class StateSlotBlock implements FourSlots {
  slot0 = NO_SLOT
  generation0 = NO_GENERATION
  slot1 = NO_SLOT
  generation1 = NO_GENERATION
  slot2 = NO_SLOT
  generation2 = NO_GENERATION
  slot3 = NO_SLOT
  generation3 = NO_GENERATION
  #next: StateSlotBlock | undefined = undefined

  slotOf(index: number): number {
    return index < INLINE_SLOTS
      ? readSlot(this, index)
      : (this.#next?.slotOf(index - INLINE_SLOTS) ?? NO_SLOT)
  }

  generationOf(index: number): number {
    return index < INLINE_SLOTS
      ? readGeneration(this, index)
      : (this.#next?.generationOf(index - INLINE_SLOTS) ?? NO_GENERATION)
  }

  setSlot(index: number, slot: number, generation: number): void {
    if (index < INLINE_SLOTS) writeSlot(this, index, slot, generation)
    else {
      this.#next ??= new StateSlotBlock()
      this.#next.setSlot(index - INLINE_SLOTS, slot, generation)
    }
  }
}
