export async function calendar(element) { element.textContent = 'soon'; }
