export async function history(element) { element.textContent = 'soon'; }
