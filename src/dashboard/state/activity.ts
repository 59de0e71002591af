import { computed, signal } from '@preact/signals'

const isVisible = signal(!document.hidden)
document.addEventListener('visibilitychange', () => {
  isVisible.value = !document.hidden
})

/** True while the user has paused the page. */
export const isPaused = signal(false)

/** True while the page loads data: it is visible and not paused. */
export const isActive = computed(() => isVisible.value && !isPaused.value)
