export async function now(element) { element.textContent = 'soon'; }
